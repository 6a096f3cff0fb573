#include "client/consumer/offset_resolver.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/consumer/batch_reader.h"
#include "client/control_calls.h"
#include "wire/limits.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {

using Kind = client::Position::Kind;

namespace {
// Of a fetch that goes on behind the batch which the broker named.
constexpr std::uint32_t kScanBytes = 1 << 20;
}  // namespace

bool OffsetResolver::has_name(const Operation& operation) {
  return !operation.topic.empty() && operation.topic.size() <= wire::kTopicNameBytesMax;
}

OffsetResolver::OffsetResolver(Executor& executor, BrokerPool& pool, ClusterMetadata& metadata,
                               std::shared_ptr<BufferPool> buffers, Options options,
                               std::uint64_t seed)
    : executor_(executor),
      pool_(pool),
      metadata_(metadata),
      buffers_(std::move(buffers)),
      options_(options),
      backoff_(options.backoff_min, options.backoff_max, seed) {}

OffsetResolver::~OffsetResolver() {
  for (const Operation& operation : operations_) executor_.cancel(operation.timer);
}

void OffsetResolver::resolve(const std::string& topic, std::int32_t partition,
                             client::Position position, Callback done) {
  if (position.kind == Kind::kTime) position.value = std::max<std::int64_t>(position.value, 0);
  Operation operation;
  operation.topic = topic;
  operation.partition = PartitionIndex(partition);
  operation.position = position;
  operation.deadline = executor_.clock().now() + options_.timeout;
  operation.answers_at_start = metadata_.answers();
  operation.rounds_at_start = pool_.rounds_failed();
  operation.done = std::move(done);
  const At at = operations_.insert(operations_.end(), std::move(operation));
  if (has_name(*at)) metadata_.want(topic);
  // By a timer, so that nothing is finished inside this call.
  at->timer = executor_.run_after(std::chrono::microseconds(0), [this, at] {
    at->timer = 0;
    proceed(at);
  });
}

void OffsetResolver::advance() {
  for (At at = operations_.begin(); at != operations_.end();) proceed(at++);
}

void OffsetResolver::cancel_all(const Error& reason) {
  while (!operations_.empty()) finish(operations_.begin(), fail(reason));
}

void OffsetResolver::wait_for_timer(At at) {
  const SteadyTime now = executor_.clock().now();
  const SteadyTime wake =
      at->not_before > now ? std::min(at->not_before, at->deadline) : at->deadline;
  executor_.cancel(at->timer);
  at->timer = executor_.run_after(wake - now, [this, at] {
    at->timer = 0;
    proceed(at);
  });
}

void OffsetResolver::proceed(At at) {
  const SteadyTime now = executor_.clock().now();
  const auto place = [&] {
    return fmt::format("topic '{}' partition {}", at->topic, at->partition.value());
  };
  if (now >= at->deadline) {
    return finish(at, fail(at->trouble ? Error(ErrorCode::kTimedOut, at->trouble->message())
                                       : unreachable(pool_).with_context(place())));
  }
  if (at->waiting_for_answer) return;
  if (!has_name(*at)) {
    return finish(at, fail(ErrorCode::kInvalidTopicName,
                           fmt::format("a topic's name has 1 to {} characters, not {}",
                                       wire::kTopicNameBytesMax, at->topic.size())));
  }
  if ((at->position.kind == Kind::kStart || at->position.kind == Kind::kEnd) &&
      at->position.value < 0) {
    return finish(at, fail(ErrorCode::kInvalidArgument,
                           fmt::format("{}: a distance of {} records; from the start it is counted "
                                       "forward, from the end back, from 0 up",
                                       place(), at->position.value)));
  }
  const Topic* topic = metadata_.find(at->topic);
  if (topic == nullptr && pool_.rounds_failed() >= at->rounds_at_start + ControlCalls::kRoundsMax) {
    return finish(at, fail(unreachable(pool_)));
  }
  wait_for_timer(at);
  if (topic == nullptr) return metadata_.want(at->topic);
  if (topic->as_of <= at->metadata_after || now < at->not_before) return;
  // It may have been made since: nothing is said to be missing on the word of an earlier answer.
  const bool is_old = topic->as_of <= at->answers_at_start;
  if (topic->error) {
    if (topic->error->code() == ErrorCode::kUnknownTopic || !topic->error->retriable()) {
      if (is_old) return metadata_.refresh();
      const Error error = *topic->error;
      metadata_.forget(at->topic);
      return finish(at, fail(error));
    }
    return retry(at, *topic->error);
  }
  const auto index = static_cast<std::size_t>(at->partition.value());
  if (at->partition.value() < 0 || index >= topic->partitions.size()) {
    if (is_old) return metadata_.refresh();
    return finish(at,
                  fail(ErrorCode::kUnknownPartition,
                       fmt::format("topic '{}' has no partition {}; it has {}, numbered from 0",
                                   at->topic, at->partition.value(), topic->partitions.size())));
  }
  const TopicPartition partition{topic->id, at->partition};
  if (at->position.kind == Kind::kOffset) {
    return finish(at, ResolvedOffset{at->position.value, 0, topic->id});
  }
  const BrokerId leader = topic->partitions[index].leader;
  if (leader.value() < 0) {
    return retry(at, Error(ErrorCode::kNotReady, fmt::format("{} has no leader now", place())));
  }
  Connection* connection = pool_.find({leader, kAnyShard}, Lane::kControl);
  if (connection == nullptr) return metadata_.refresh_patiently();  // it may have moved
  if (at->step == Step::kScan) {
    scan(at, *connection, partition);
  } else {
    list_offsets(at, *connection, partition);
  }
}

void OffsetResolver::list_offsets(At at, Connection& connection, TopicPartition partition) {
  std::int64_t timestamp = kLatestTimestamp;
  if (at->step == Step::kStartOfEnd || at->position.kind == Kind::kStart) {
    timestamp = kEarliestTimestamp;
  } else if (at->step == Step::kFirst && at->position.kind == Kind::kTime) {
    timestamp = at->position.value;
  }
  const ListOffsetsEntry entry{partition, timestamp};
  at->waiting_for_answer = true;
  connection.call(
      wire::ApiKey::kListOffsets, encode_list_offsets({&entry, 1}), {}, options_.timeout,
      [this, at, topic = partition.topic,
       alive = std::weak_ptr<int>(at->alive)](const std::expected<Answer, CallFailure>& answer) {
        if (alive.expired()) return;
        at->waiting_for_answer = false;
        if (!answer) return retry(at, answer.error().error);
        offset_listed(at, topic, *answer);
      });
}

void OffsetResolver::offset_listed(At at, TopicId topic, const Answer& answer) {
  Result<ListOffsetsAnswer> decoded = decode_list_offsets(answer.table.bytes());
  if (!decoded) return finish(at, fail(decoded.error()));
  if (!decoded->status.ok()) return retry(at, decoded->status.error());
  if (decoded->results.size() != 1) {
    return finish(at, fail(ErrorCode::kMalformedFrame,
                           fmt::format("a broker answered {} offsets where one was asked for",
                                       decoded->results.size())));
  }
  const ListOffsetsResult& result = decoded->results.front();
  if (!result.status.ok()) return retry(at, result.status.error());
  apply_listed(at, topic, result.offset);
}

void OffsetResolver::apply_listed(At at, TopicId topic, std::int64_t offset) {
  const client::Position position = at->position;
  if (at->step == Step::kEndOfTime) return finish(at, ResolvedOffset{std::nullopt, offset, topic});
  if (at->step == Step::kStartOfEnd) {
    return finish(at, ResolvedOffset{std::max(offset, at->found - position.value), 0, topic});
  }
  if (position.kind == Kind::kStart) {
    const std::int64_t distance = std::min(position.value, INT64_MAX - offset);
    return finish(at, ResolvedOffset{offset + distance, 0, topic});
  }
  if (position.kind == Kind::kEnd) {
    if (position.value == 0) return finish(at, ResolvedOffset{offset, 0, topic});
    at->step = Step::kStartOfEnd;
  } else {
    at->step = offset < 0 ? Step::kEndOfTime : Step::kScan;
  }
  at->found = offset;
  proceed(at);
}

void OffsetResolver::scan(At at, Connection& connection, TopicPartition partition) {
  FetchRequest request;
  request.bytes_max = at->scans_on ? kScanBytes : 1;  // one whole batch comes all the same
  request.changed.push_back(
      {.partition = partition, .bytes_max = request.bytes_max, .offset = Offset(at->found)});
  at->waiting_for_answer = true;
  const BrokerId leader = connection.hello().broker_id;
  const std::uint64_t serial = connection.serial();
  connection.call(
      wire::ApiKey::kFetch, encode(request), {}, options_.timeout,
      [this, at, partition, leader, serial,
       alive = std::weak_ptr<int>(at->alive)](const std::expected<Answer, CallFailure>& answer) {
        if (alive.expired()) return;
        at->waiting_for_answer = false;
        if (!answer) return retry(at, answer.error().error);
        const Result<FetchAnswer> decoded = decode_fetch(answer->table.bytes(), answer->raw.size());
        Connection* control = pool_.find_open({leader, kAnyShard}, Lane::kControl);
        if (decoded && decoded->session != 0 && control != nullptr && control->serial() == serial) {
          FetchRequest close;
          close.session = decoded->session;
          close.close_session = true;
          control->call(wire::ApiKey::kFetch, encode(close), {}, options_.timeout,
                        [](const std::expected<Answer, CallFailure>&) {
                          // The session ends with its connection at the latest.
                        });
        }
        scanned(at, partition, *answer);
      });
}

void OffsetResolver::scanned(At at, TopicPartition partition, const Answer& answer) {
  const Result<FetchAnswer> decoded = decode_fetch(answer.table.bytes(), answer.raw.size());
  if (!decoded) return finish(at, fail(decoded.error()));
  if (!decoded->status.ok()) return retry(at, decoded->status.error());
  if (decoded->results.size() == 1 && !decoded->results.front().status.ok()) {
    const FetchResult& refused = decoded->results.front();
    const Error error = refused.status.error();
    // Trimmed further meanwhile.
    if (error.code() == ErrorCode::kOffsetOutOfRange) return begin_again(at, error);
    // As the broker does: what cannot be read hides nothing behind it.
    if (!at->scans_on || refused.sound_offset <= at->found) return retry(at, error);
    at->found = refused.sound_offset;
    return proceed(at);
  }
  if (decoded->results.size() != 1 || decoded->results.front().bytes == 0) {
    return retry(at, Error(ErrorCode::kNotReady,
                           fmt::format("topic '{}' partition {}: no batch came for offset {}",
                                       at->topic, at->partition.value(), at->found)));
  }
  const Result<Search> searched = find_record(*at, partition, answer.raw);
  if (!searched) return finish(at, fail(searched.error()));
  if (searched->record) return finish(at, ResolvedOffset{searched->record, 0, partition.topic});
  at->scans_on = true;
  at->found = searched->next;
  if (at->found >= decoded->results.front().high_watermark) at->step = Step::kEndOfTime;
  proceed(at);
}

Result<OffsetResolver::Search> OffsetResolver::find_record(const Operation& operation,
                                                           TopicPartition partition,
                                                           const SharedBytes& batches) const {
  Search search{.record = std::nullopt, .next = operation.found};
  for (std::size_t at = 0; at < batches.size();) {
    TIDELOG_ASSIGN(const wire::BatchView view,
                   wire::BatchView::parse(batches.bytes().subspan(at), wire::kBatchBytesMax));
    TIDELOG_TRY(view.verify(wire::batch_seed(partition)));
    TIDELOG_ASSIGN(BatchReader reader, BatchReader::open(batches.slice(at, view.size()), buffers_,
                                                         options_.uncompressed_bytes_max));
    while (reader.has_next()) {
      TIDELOG_TRY(reader.next());
      if (reader.offset() < operation.found) continue;  // below the log's start
      if (reader.timestamp_ms() < operation.position.value) continue;
      search.record = reader.offset();
      return search;
    }
    search.next = reader.next_offset();
    at += view.size();
  }
  return search;
}

void OffsetResolver::begin_again(At at, const Error& reason) {
  at->trouble = reason;
  at->not_before = executor_.clock().now() + backoff_.next();
  at->step = Step::kFirst;
  at->scans_on = false;
  wait_for_timer(at);
}

void OffsetResolver::retry(At at, const Error& error) {
  if (!error.retriable()) return finish(at, fail(error));
  if (error.info().action == ErrorAction::kRefreshAndRetry ||
      error.code() == ErrorCode::kNotReady) {
    at->metadata_after = metadata_.answers();
    metadata_.refresh();
  }
  begin_again(at, error);
}

void OffsetResolver::finish(At at, Result<ResolvedOffset> result) {
  backoff_.reset();
  executor_.cancel(at->timer);
  Callback done = std::move(at->done);
  operations_.erase(at);
  done(std::move(result));
}

}  // namespace tidelog::client_core
