#include "client/producer/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "client/durations.h"
#include "client/producer/batch_split.h"
#include "wire/limits.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {
namespace {

// A request takes batches until it has this many bytes: enough to spare round trips, little enough
// that its first batch does not wait long for its last.
constexpr std::size_t kRequestBytesMax = 1024 * 1024;
constexpr std::size_t kEntriesMax = 2000;
// What a request gets to be answered in, however late it is: less, and a sound broker would be
// taken for a silent one.
constexpr std::chrono::milliseconds kLastTryMin{1000};
// Shortest wait between two looks for records past their delivery timeout.
constexpr std::chrono::microseconds kExpiryCheckMin = std::chrono::milliseconds(1);

std::string place(const PartitionQueue& partition) {
  return fmt::format("topic '{}' partition {}", partition.topic.name, partition.index.value());
}

}  // namespace

Sender::Sender(wire::Network& network, Executor& executor, BufferPool& buffers,
               Accumulator& accumulator, SenderOptions options, std::uint64_t seed)
    : executor_(executor),
      buffers_(buffers),
      accumulator_(accumulator),
      options_(std::move(options)),
      random_(seed),
      pool_(network, executor, buffers, options_.pool, random_.next()),
      metadata_(executor, pool_,
                {.request_timeout = options_.request_timeout,
                 .backoff_min = options_.pool.backoff_min,
                 .backoff_max = options_.pool.backoff_max,
                 .age_max = options_.metadata_max_age},
                random_.next()),
      identity_(executor, pool_,
                {.request_timeout = options_.request_timeout,
                 .backoff_min = options_.pool.backoff_min,
                 .backoff_max = options_.pool.backoff_max},
                random_.next()) {
  TIDELOG_CHECK(!options_.idempotent || options_.acks != AcksOnWire::kNone,
                "whoever hears no answers cannot send again");
  pool_.on_change([this] { pump(); });
  identity_.on_arrival([this] { pump(); });
  metadata_.on_update([this] { pump(); });
}

Sender::~Sender() { executor_.cancel(timer_); }

void Sender::pump() {
  if (abandoned_) return;
  accumulator_.begin_collecting();
  take_new_work();
  metadata_.advance();
  if (options_.idempotent && !topics_.empty()) identity_.want();
  note_metadata();
  // Its topics are not those that the records are for, though they may have the same names.
  if (const auto wrong = pool_.take_wrong_cluster()) fail_all_queued(*wrong);
  const SteadyTime now = executor_.clock().now();
  expire(now);
  send_due(now);
  arm_timer(now);
}

void Sender::take_new_work() {
  for (const std::string& name : accumulator_.take_unknown_topics()) {
    topics_.insert(name);
    metadata_.want(name);
  }
  std::vector<PartitionQueue*> touched;
  accumulator_.take_touched(touched);
  for (PartitionQueue* partition : touched) activate(*partition);
}

void Sender::activate(PartitionQueue& partition) {
  if (!std::exchange(partition.active, true)) active_.push_back(&partition);
  await_expiry(partition);
}

void Sender::drop_idle_partitions() {
  std::erase_if(active_, [this](PartitionQueue* partition) {
    if (!partition->idle() || accumulator_.state(*partition).oldest) return false;
    partition->active = false;
    return true;
  });
}

void Sender::note_metadata() {
  if (metadata_.answers() == answers_noted_) return;
  answers_noted_ = metadata_.answers();
  const std::vector<std::string> names(topics_.begin(), topics_.end());
  for (const std::string& name : names) {
    const Topic* topic = metadata_.find(name);
    if (topic != nullptr && topic->as_of == answers_noted_) note_topic(*topic);
  }
  take_new_work();
}

void Sender::note_topic(const Topic& topic) {
  if (topic.error) {
    const bool final = topic.error->code() == ErrorCode::kUnknownTopic || !topic.error->retriable();
    if (final) {
      const Error error = *topic.error;
      const std::string name = topic.name;
      return fail_topic(name, error);
    }
    return metadata_.refresh_patiently();
  }
  Accumulator::TopicFacts facts;
  facts.partitions = static_cast<std::int32_t>(topic.partitions.size());
  facts.batch_bytes_max = topic.batch_bytes_max;
  for (std::int32_t index = 0; index < facts.partitions; ++index) {
    if (topic.partitions[static_cast<std::size_t>(index)].leader.value() >= 0) {
      facts.with_leader.push_back(index);
    }
  }
  if (facts.partitions == 0) return metadata_.refresh_patiently();
  std::vector<FailedRecord> failed;
  accumulator_.set_topic(topic.name, std::move(facts), failed);
  for (const FailedRecord& record : failed) fail_record(record.record, record.error);
}

void Sender::expire(SteadyTime now) {
  const std::optional<SteadyTime> due = next_expiry();
  if (!due || now < *due) return;
  expiry_not_before_ = now + kExpiryCheckMin;
  const SteadyTime too_old = now - options_.delivery_timeout;
  for (const WaitingRecord& record : accumulator_.take_waiting_since(too_old)) {
    fail_record(record, too_late(std::nullopt));
  }
  while (PartitionQueue* partition = expiry_queue_.take(too_old)) {
    expire_queued(*partition, too_old);
    await_expiry(*partition);
  }
}

void Sender::expire_queued(PartitionQueue& partition, SteadyTime too_old) {
  while (!partition.retry.empty()) {
    if (partition.retry.front()->opened_at > too_old) return;  // what is behind is younger
    std::unique_ptr<Batch> batch = std::move(partition.retry.front());
    partition.retry.pop_front();
    const Error error = too_late(batch->trouble);
    fail_batch(partition, std::move(batch), error);
  }
  for (auto oldest = accumulator_.state(partition).oldest; oldest && *oldest <= too_old;
       oldest = accumulator_.state(partition).oldest) {
    fail_batch(partition, accumulator_.take_batch(partition), too_late(std::nullopt));
  }
}

void Sender::await_expiry(PartitionQueue& partition) {
  const std::optional<SteadyTime> oldest = partition.retry.empty()
                                               ? accumulator_.state(partition).oldest
                                               : partition.retry.front()->opened_at;
  if (oldest) expiry_queue_.add(partition, *oldest);
}

std::optional<SteadyTime> Sender::next_expiry() const {
  std::optional<SteadyTime> oldest = accumulator_.oldest_waiting();
  if (const auto queued = expiry_queue_.earliest()) {
    oldest = std::min(oldest.value_or(*queued), *queued);
  }
  if (!oldest) return std::nullopt;
  return std::max(*oldest + options_.delivery_timeout, expiry_not_before_);
}

Error Sender::too_late(const std::optional<Error>& trouble) const {
  const std::optional<Error>& missing =
      pool_.last_failure() ? pool_.last_failure() : identity_.trouble();
  const std::optional<Error>& cause = trouble ? trouble : missing;
  return Error(ErrorCode::kTimedOut,
               fmt::format("not delivered within {} ms{}{}", options_.delivery_timeout.count(),
                           cause ? ": " : "", cause ? cause->message() : ""));
}

std::optional<SteadyTime> Sender::due_at(const PartitionQueue& partition) const {
  // After a refusal one batch goes alone, so that nothing can overtake it.
  const std::size_t in_flight_max =
      partition.refusals > 0 ? 1 : static_cast<std::size_t>(std::max(options_.in_flight_max, 1));
  if (partition.recovering || partition.unanswered >= in_flight_max) return std::nullopt;
  if (!partition.retry.empty()) return partition.not_before;
  const Accumulator::QueueState state = accumulator_.state(partition);
  if (state.ready_batches > 0 || state.flushing) return partition.not_before;
  if (!state.open_since) return std::nullopt;
  if (options_.linger.count() == 0) {
    if (partition.unanswered > 0) return std::nullopt;  // it fills while the other is on its way
    return partition.not_before;
  }
  // Longer, and records would be given up before they were ever sent.
  const auto linger = std::min(options_.linger, options_.delivery_timeout / 2);
  return std::max(partition.not_before, *state.open_since + linger);
}

std::optional<BrokerShard> Sender::leader_of(PartitionQueue& partition) {
  const Topic* topic = metadata_.find(partition.topic.name);
  if (topic == nullptr || topic->error) {
    if (!topics_.contains(partition.topic.name)) {
      fail_queued(partition,
                  Error(ErrorCode::kUnknownTopic,
                        fmt::format("topic '{}' does not exist any more", partition.topic.name)));
    }
    return std::nullopt;
  }
  if (topic->as_of <= partition.metadata_after) return std::nullopt;
  const auto index = static_cast<std::size_t>(partition.index.value());
  if (index >= topic->partitions.size()) {
    fail_queued(partition,
                Error(ErrorCode::kUnknownPartition,
                      fmt::format("topic '{}' has no partition {} any more; it has {} now",
                                  topic->name, index, topic->partitions.size())));
    return std::nullopt;
  }
  const PartitionLeader& leader = topic->partitions[index];
  if (leader.leader.value() >= 0) return BrokerPool::connected_by({leader.leader, leader.shard});
  metadata_.refresh_patiently();
  return std::nullopt;
}

std::chrono::milliseconds Sender::time_for(const PartitionQueue& partition, SteadyTime opened_at,
                                           SteadyTime now) const {
  // What was sent before it is not sent again before this is answered, too.
  const SteadyTime oldest =
      partition.in_flight.empty() ? opened_at : partition.in_flight.front()->opened_at;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(oldest + options_.delivery_timeout - now);
  return std::min(options_.request_timeout, std::max(left, kLastTryMin));
}

void Sender::send_due(SteadyTime now) {
  next_due_.reset();
  drop_idle_partitions();
  std::map<BrokerShard, std::vector<PartitionQueue*>> due_by_leader;
  const std::vector<PartitionQueue*> active = active_;  // callbacks may change it
  for (std::size_t step = 0; step < active.size(); ++step) {
    PartitionQueue& partition = *active[(next_start_ + step) % active.size()];
    const std::optional<SteadyTime> at = due_at(partition);
    if (!at) continue;
    if (*at > now) {
      next_due_ = std::min(next_due_.value_or(*at), *at);
      continue;
    }
    if (!has_identity(partition)) continue;
    const std::optional<BrokerShard> leader = leader_of(partition);
    if (leader) due_by_leader[*leader].push_back(&partition);
  }
  ++next_start_;
  for (auto& [leader, due] : due_by_leader) {
    Connection* connection = pool_.find(leader, Lane::kControl);
    if (connection == nullptr) {
      metadata_.refresh_patiently();  // it may have moved
      continue;
    }
    // What is on its way on another connection could be overtaken: its answers come first.
    std::erase_if(due, [&](const PartitionQueue* partition) {
      return partition->unanswered > 0 && partition->sent_on != connection->serial();
    });
    while (!due.empty() && connection->has_room(kRequestBytesMax)) {
      send_request(*connection, due, now);
    }
  }
}

void Sender::send_request(Connection& connection, std::vector<PartitionQueue*>& due,
                          SteadyTime now) {
  ProduceRequest request;
  request.acks = options_.acks;
  std::chrono::milliseconds timeout = options_.request_timeout;
  std::vector<SharedBytes> raw;
  SentList sent;
  std::vector<PartitionQueue*> later;
  std::size_t bytes = 0;
  // A broker remembers that many, to know them again.
  const std::size_t unsettled_max = std::max(connection.hello().unsettled_batches_max, 1U);
  const std::size_t frame_room = connection.hello().frame_bytes_max - wire::kFrameOverheadBytesMax;
  for (PartitionQueue* partition : due) {
    const auto [next_bytes, opened_at] = next_to_send(*partition);
    const bool is_late = time_for(*partition, opened_at, now) < options_.request_timeout;
    const bool fits =
        bytes + next_bytes <= frame_room && is_late == (timeout < options_.request_timeout);
    if (sent.size() >= kEntriesMax || bytes >= kRequestBytesMax || (!sent.empty() && !fits)) {
      later.push_back(partition);
      continue;
    }
    if (options_.idempotent && partition->in_flight.size() >= unsettled_max) continue;
    std::unique_ptr<Batch> batch = next_batch(*partition);
    if (batch == nullptr) continue;
    bytes += batch->encoded.size();
    timeout = std::min(timeout, time_for(*partition, batch->opened_at, now));
    request.entries.push_back({{*batch->encoded_for, partition->index},
                               static_cast<std::uint32_t>(batch->encoded.size())});
    raw.push_back(batch->encoded);
    sent.push_back({partition, batch.get()});
    batch->order = partition->next_order++;
    batch->resolved = false;
    batch->out_of_sequence = false;
    partition->in_flight.push_back(std::move(batch));
    partition->sent_on = connection.serial();
    ++partition->unanswered;
    activate(*partition);
    const std::optional<SteadyTime> more = due_at(*partition);
    if (more && *more <= now) later.push_back(partition);
  }
  due = std::move(later);
  if (sent.empty()) return;
  request.deadline_ms = broker_deadline_ms(timeout);
  if (connection.is_open()) {
    return transmit(connection, request, std::move(raw), timeout, std::move(sent));
  }
  // A callback of a batch that could not be sent closed the producer.
  for (Sent& one : sent) {
    settle(one,
           {abandoned_ ? ErrorCode::kCancelled : ErrorCode::kConnectionFailed,
            "the connection was closed before this record was sent", 0},
           {});
  }
}

std::unique_ptr<Batch> Sender::next_batch(PartitionQueue& partition) {
  const Topic* topic = metadata_.find(partition.topic.name);
  TIDELOG_CHECK(topic != nullptr, "a partition with a leader has metadata");
  const TopicId id = topic->id;
  const std::size_t limit = topic->batch_bytes_max != 0 ? topic->batch_bytes_max : SIZE_MAX;
  while (std::unique_ptr<Batch> batch = oldest_batch(partition)) {
    Result<> ready = prepare(partition, *batch, id);
    if (ready && batch->encoded.size() > std::min(limit, batch->bytes_max) &&
        batch->records.size() > 1) {
      ready = split_in_two(*batch, partition.retry);
      if (ready) continue;
    }
    if (ready) return batch;
    fail_batch(partition, std::move(batch), ready.error().with_context(place(partition)));
  }
  return nullptr;
}

Sender::NextToSend Sender::next_to_send(const PartitionQueue& partition) const {
  if (!partition.retry.empty()) {
    const Batch& batch = *partition.retry.front();
    return {batch.send_bytes(), batch.opened_at};
  }
  const Accumulator::QueueState state = accumulator_.state(partition);
  return {state.next_bytes, state.oldest.value_or(executor_.clock().now())};
}

std::unique_ptr<Batch> Sender::oldest_batch(PartitionQueue& partition) {
  if (partition.retry.empty()) return accumulator_.take_batch(partition);
  std::unique_ptr<Batch> batch = std::move(partition.retry.front());
  partition.retry.pop_front();
  return batch;
}

Result<> Sender::prepare(PartitionQueue& partition, Batch& batch, const TopicId& id) {
  const bool is_for_another = batch.encoded_for && batch.encoded_for != id;
  if (is_for_another && batch.maybe_stored) {
    return fail(ErrorCode::kUnknownOutcome,
                "the topic was deleted and made again while this record was on its way to the one "
                "that is gone");
  }
  if (is_for_another) batch.numbers.reset();  // it is in neither, so the new one may have it
  const bool numbered = !options_.idempotent || batch.numbers;
  if (numbered && !is_for_another && !batch.encoded.empty()) return {};
  const std::uint64_t seed = wire::batch_seed({id, partition.index});
  if (!numbered) {
    partition.sequence.follow(id);
    batch.numbers = partition.sequence.take(batch.records.size());
  }
  const BatchNumbers numbers = batch.numbers.value_or(BatchNumbers{});
  if (batch.encoded.empty()) {
    TIDELOG_ASSIGN(batch.encoded,
                   batch.builder.finish(options_.compression, seed, numbers, buffers_));
  } else {
    batch.encoded = renumber(batch.encoded, numbers, seed, buffers_);
  }
  batch.encoded_for = id;
  return {};
}

void Sender::transmit(Connection& connection, const ProduceRequest& request,
                      std::vector<SharedBytes> raw, std::chrono::milliseconds timeout,
                      SentList sent) {
  const Table table = encode(request);
  if (options_.acks == AcksOnWire::kNone) {
    connection.send_one_way(
        wire::ApiKey::kProduce, table, std::move(raw), timeout,
        [this, sent = std::move(sent)](Result<> taken) mutable {
          for (Sent& one : sent) {
            if (taken) {
              settle(one, {}, {});
            } else {
              settle(one, {ErrorCode::kUnknownOutcome, taken.error().message(), 0}, {});
            }
          }
          pump();
        });
    return;
  }
  connection.call(
      wire::ApiKey::kProduce, table, std::move(raw), timeout,
      [this, sent = std::move(sent)](std::expected<Answer, CallFailure> answer) mutable {
        answered(sent, answer);
      });
}

void Sender::arm_timer(SteadyTime now) {
  executor_.cancel(std::exchange(timer_, 0));
  std::optional<SteadyTime> at = next_due_;
  if (const auto expiry = next_expiry()) at = std::min(at.value_or(*expiry), *expiry);
  if (!at || abandoned_) return;
  timer_ = executor_.run_after(std::max(*at - now, std::chrono::microseconds(0)), [this] {
    timer_ = 0;
    time_came();
  });
}

void Sender::time_came() {
  const SteadyTime now = executor_.clock().now();
  if (next_due_ && *next_due_ <= now) return pump();
  // Nothing else has changed: partitions that have neither to be sent nor given up are not looked
  // at.
  expire(now);
  if (!abandoned_) arm_timer(now);
}

}  // namespace tidelog::client_core
