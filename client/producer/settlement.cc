// The sender's second half: what becomes of batches once they were sent (sender.h).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "client/producer/sender.h"
#include "client/public_error.h"

namespace tidelog::client_core {
namespace {

std::string place(const PartitionQueue& partition) {
  return fmt::format("topic '{}' partition {}", partition.topic.name, partition.index.value());
}

// The broker itself does not know whether the records are, or will be, in the log.
bool says_unknown(ErrorCode code) {
  return code == ErrorCode::kUnknownOutcome || code == ErrorCode::kTimedOut ||
         code == ErrorCode::kConnectionClosed;
}

bool is_out_of_sequence(ErrorCode code) {
  return code == ErrorCode::kOutOfOrderSequence || code == ErrorCode::kUnknownProducer ||
         code == ErrorCode::kFencedProducer;
}

// That a record has in the log; -1: nobody remembers.
std::int64_t timestamp_ms(const RecordSlot& record, const StoredAt& stored) {
  if (stored.append_time_us == kAppendTimeForgotten) return -1;
  return stored.append_time_us >= 0 ? stored.append_time_us / 1000 : record.timestamp_ms;
}

// The topic's limit was lowered since the batch was filled.
bool can_be_split(const Batch& batch, const AnswerStatus& status) {
  return status.code == ErrorCode::kBatchTooLarge && batch.records.size() > 1;
}

}  // namespace

void Sender::answered(SentList& sent, const std::expected<Answer, CallFailure>& answer) {
  if (answer) {
    apply(sent, *answer);
  } else {
    const CallFailure& failure = answer.error();
    for (Sent& one : sent) {
      if (one.answered) continue;
      // Never handed to the network: as good as refused, whatever the reason.
      const ErrorCode code = failure.maybe_carried_out
                                 ? ErrorCode::kUnknownOutcome
                                 : (failure.error.retriable() && !says_unknown(failure.error.code())
                                        ? failure.error.code()
                                        : (failure.error.retriable() ? ErrorCode::kConnectionFailed
                                                                     : failure.error.code()));
      settle(one, {code, failure.error.message(), 0}, {});
    }
    metadata_.refresh();
  }
  pump();
}

void Sender::apply(SentList& sent, const Answer& answer) {
  Result<ProduceAnswer> decoded = decode_produce(answer.table.bytes());
  const auto settle_rest = [&](const AnswerStatus& status) {
    for (Sent& one : sent) {
      if (!one.answered) settle(one, status, {});
    }
  };
  if (!decoded) {
    return settle_rest({ErrorCode::kUnknownOutcome, decoded.error().message(), 0});
  }
  for (const ProduceResult& result : decoded->results) {
    const auto at = std::ranges::find_if(sent, [&](const Sent& one) {
      return !one.answered && one.partition->index == result.partition.partition &&
             one.batch->encoded_for == result.partition.topic;
    });
    if (at != sent.end()) settle(*at, result.status, result.stored);
  }
  if (!decoded->status.ok()) return settle_rest(decoded->status);
  if (!answer.more_parts) {
    settle_rest(
        {ErrorCode::kUnknownOutcome, "the broker's answer does not speak of this batch", 0});
  }
}

void Sender::settle(Sent& sent, const AnswerStatus& status, const StoredAt& stored) {
  PartitionQueue& partition = *sent.partition;
  sent.answered = true;
  --partition.unanswered;
  if (status.ok()) {
    acknowledge(partition, take_in_flight(partition, *sent.batch), stored);
  } else if (says_unknown(status.code)) {
    lose(partition, *sent.batch, status.error());
  } else if (options_.idempotent && !abandoned_ && is_out_of_sequence(status.code)) {
    note_out_of_sequence(partition, *sent.batch, status);
  } else if (!abandoned_ && (status.error().retriable() || can_be_split(*sent.batch, status))) {
    refuse(partition, *sent.batch, status);
  } else {
    if (status.code == ErrorCode::kBatchTooLarge) metadata_.refresh();  // the limit has changed
    fail_batch(partition, take_in_flight(partition, *sent.batch), status.error());
  }
  recover_if_quiet(partition);
}

void Sender::refuse(PartitionQueue& partition, Batch& batch, const AnswerStatus& status) {
  batch.resolved = true;
  batch.trouble = status.error().with_context(place(partition));
  partition.recovering = true;
  partition.not_before =
      std::max(partition.not_before,
               executor_.clock().now() + std::chrono::milliseconds(status.throttle_ms));
  const bool too_large = status.code == ErrorCode::kBatchTooLarge;
  const std::string sentence = fmt::format("{}; {}", batch.trouble->message(),
                                           too_large ? "sending it in parts" : "trying again");
  if (too_large) batch.bytes_max = batch.encoded.size() - 1;
  if (too_large || status.error().info().action == ErrorAction::kRefreshAndRetry) {
    partition.metadata_after = metadata_.answers();
    metadata_.refresh();
  }
  pool_.log(sentence);  // its hearer may close the producer, and the batch is gone
}

void Sender::lose(PartitionQueue& partition, Batch& batch, const Error& cause) {
  const Error error(ErrorCode::kUnknownOutcome,
                    fmt::format("{}: {}", place(partition), cause.message()));
  if (sends_again_what_is_lost() && !abandoned_) {
    batch.resolved = true;
    batch.maybe_stored = true;
    batch.trouble = error;
    partition.recovering = true;
    return;
  }
  partition.maybe_stored_order = std::max(partition.maybe_stored_order, batch.order);
  fail_batch(partition, take_in_flight(partition, batch), error);
}

void Sender::recover_if_quiet(PartitionQueue& partition) {
  if (!partition.recovering || partition.unanswered > 0) return;
  partition.recovering = false;
  if (options_.idempotent && !abandoned_ && !partition.in_flight.empty() &&
      partition.in_flight.front()->out_of_sequence) {
    heal(partition);
  }
  std::deque<std::unique_ptr<Batch>> held = std::exchange(partition.in_flight, {});
  std::deque<std::unique_ptr<Batch>> again;
  for (std::unique_ptr<Batch>& batch : held) {
    TIDELOG_CHECK(batch->resolved, "nothing is unanswered, so all is resolved");
    recover_batch(partition, std::move(batch), again);
  }
  partition.retry.insert(partition.retry.begin(), std::make_move_iterator(again.begin()),
                         std::make_move_iterator(again.end()));
  await_expiry(partition);  // what has no time left is not sent again before that
  const int doublings = std::min(partition.refusals++, 16);
  const auto wait =
      std::min(options_.pool.backoff_min * (1 << doublings), options_.pool.backoff_max);
  const auto half = std::chrono::microseconds(wait).count() / 2;
  const std::chrono::microseconds jittered(
      half + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(half) + 1)));
  partition.not_before = std::max(partition.not_before, executor_.clock().now() + jittered);
}

void Sender::recover_batch(PartitionQueue& partition, std::unique_ptr<Batch> batch,
                           std::deque<std::unique_ptr<Batch>>& again) {
  const Error trouble = *batch->trouble;
  if (abandoned_) {
    const bool maybe = batch->maybe_stored;
    return fail_batch(
        partition, std::move(batch),
        maybe ? trouble
              : Error(ErrorCode::kCancelled,
                      fmt::format("the producer was closed; before that: {}", trouble.message())));
  }
  // Numbers keep their order by themselves.
  const bool overtaken = !options_.idempotent &&
                         (batch->order < partition.acknowledged_order ||
                          (!options_.retry_unknown && batch->order < partition.maybe_stored_order));
  if (!overtaken) {
    again.push_back(std::move(batch));
    return;
  }
  fail_batch(partition, std::move(batch),
             Error(trouble.code(),
                   fmt::format("{}; not sent again, because later records of the partition are "
                               "in the log, or may be",
                               trouble.message())));
}

std::unique_ptr<Batch> Sender::take_in_flight(PartitionQueue& partition, const Batch& batch) {
  const auto at = std::ranges::find(partition.in_flight, &batch, &std::unique_ptr<Batch>::get);
  TIDELOG_CHECK(at != partition.in_flight.end(), "an unanswered batch is in flight");
  std::unique_ptr<Batch> taken = std::move(*at);
  partition.in_flight.erase(at);
  return taken;
}

void Sender::acknowledge(PartitionQueue& partition, std::unique_ptr<Batch> batch,
                         const StoredAt& stored) {
  partition.acknowledged_order = std::max(partition.acknowledged_order, batch->order);
  partition.refusals = 0;
  accumulator_.release_bytes(batch->charged_bytes);
  accumulator_.count({.records_acknowledged = batch->records.size(),
                      .bytes_acknowledged = batch->payload_bytes,
                      .batches = 1});
  client::Result<client::Delivery> delivery(client::Delivery{.topic = partition.topic.name,
                                                             .partition = partition.index.value(),
                                                             .offset = stored.base_offset,
                                                             .timestamp_ms = 0});
  for (RecordSlot& record : batch->records) {
    delivery->timestamp_ms = timestamp_ms(record, stored);
    if (record.callback) record.callback(delivery);
    if (stored.base_offset >= 0) ++delivery->offset;
  }
  accumulator_.settled(batch->flush_epoch, batch->records.size());
  accumulator_.recycle(std::move(batch));
}

void Sender::fail_batch(PartitionQueue& partition, std::unique_ptr<Batch> batch,
                        const Error& cause) {
  // An earlier try may have stored it, whatever became of the last.
  const Error error =
      batch->maybe_stored ? Error(ErrorCode::kUnknownOutcome, cause.message()) : cause;
  const bool unknown = error.code() == ErrorCode::kUnknownOutcome;
  if (unknown && batch->numbers) partition.sequence.doubt(*batch->numbers);
  accumulator_.release_bytes(batch->charged_bytes);
  accumulator_.count({.records_failed = unknown ? 0 : batch->records.size(),
                      .records_unknown = unknown ? batch->records.size() : 0});
  const client::Result<client::Delivery> failure(to_public(error));
  for (RecordSlot& record : batch->records) {
    if (record.callback) record.callback(failure);
  }
  accumulator_.settled(batch->flush_epoch, batch->records.size());
}

void Sender::fail_record(const WaitingRecord& record, const Error& error) {
  accumulator_.release_bytes(record.charged_bytes);
  accumulator_.count({.records_failed = 1});
  if (record.callback) record.callback(client::Result<client::Delivery>(to_public(error)));
  accumulator_.settled(record.flush_epoch, 1);
}

void Sender::fail_queued(PartitionQueue& partition, const Error& error) {
  std::deque<std::unique_ptr<Batch>> retry = std::exchange(partition.retry, {});
  for (std::unique_ptr<Batch>& batch : retry) {
    const Error own = batch->maybe_stored ? *batch->trouble : error;
    fail_batch(partition, std::move(batch), own);
  }
  while (std::unique_ptr<Batch> batch = accumulator_.take_batch(partition)) {
    fail_batch(partition, std::move(batch), error);
  }
}

void Sender::fail_topic(const std::string& name, const Error& error) {
  topics_.erase(name);
  metadata_.forget(name);
  for (const WaitingRecord& record : accumulator_.forget_topic(name)) {
    fail_record(record, error);
  }
  for (PartitionQueue* partition : accumulator_.partitions(name)) fail_queued(*partition, error);
}

void Sender::fail_all_queued(const Error& error) {
  for (const WaitingRecord& record : accumulator_.take_waiting_since(SteadyTime::max())) {
    fail_record(record, error);
  }
  const std::vector<PartitionQueue*> active = active_;  // callbacks may change it
  for (PartitionQueue* partition : active) fail_queued(*partition, error);
}

void Sender::abandon() {
  if (abandoned_) return;
  take_new_work();
  abandoned_ = true;
  executor_.cancel(std::exchange(timer_, 0));
  const Error cancelled(ErrorCode::kCancelled,
                        "the producer was closed before this record was sent");
  fail_all_queued(cancelled);
  pool_.shut_down(
      Error(ErrorCode::kCancelled, "the producer was closed while this record was in flight"));
}

}  // namespace tidelog::client_core
