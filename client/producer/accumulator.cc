#include "client/producer/accumulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/producer/partitioner.h"
#include "wire/limits.h"

namespace tidelog::client_core {
namespace {

// Batches whose memory is kept for the next ones.
constexpr std::size_t kSpareBatchesMax = 16;
// What the deltas of a record may add to its encoding in an empty batch.
constexpr std::size_t kDeltaBytesMax = 16;

}  // namespace

Accumulator::Accumulator(const Clock& clock, AccumulatorOptions options)
    : clock_(clock), options_(std::move(options)), random_(options_.seed) {}

TopicQueue& Accumulator::topic_queue(const std::string& name) {
  if (last_topic_ != nullptr && last_topic_->name == name) return *last_topic_;
  auto at = topics_.find(name);
  if (at == topics_.end()) at = topics_.emplace(name, std::make_unique<TopicQueue>(name)).first;
  last_topic_ = at->second.get();
  return *last_topic_;
}

std::size_t Accumulator::show(const client::Record& record) {
  scratch_.key = record.key;
  scratch_.value = record.value;
  scratch_.headers.clear();
  for (const client::Header& header : record.headers) {
    scratch_.headers.push_back({header.key, header.value});
  }
  return wire::record_bytes(scratch_) + kDeltaBytesMax;
}

Result<> Accumulator::check_size(const TopicQueue& topic, std::size_t record_bytes) const {
  if (scratch_.headers.size() > wire::kHeadersPerRecordMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a record for topic '{}' has {} headers; {} are the limit", topic.name,
                            scratch_.headers.size(), wire::kHeadersPerRecordMax));
  }
  const std::size_t limit = topic.known ? topic.batch_bytes_limit : wire::kBatchBytesMax;
  if (wire::kBatchHeaderBytes + record_bytes > limit) {
    return fail(
        ErrorCode::kBatchTooLarge,
        fmt::format("a record of {} bytes for topic '{}' is larger than the {} bytes that a "
                    "batch of it may have",
                    record_bytes, topic.name, limit));
  }
  if (record_bytes + sizeof(RecordSlot) > options_.buffer_bytes_max) {
    return fail(ErrorCode::kBatchTooLarge,
                fmt::format("a record of {} bytes for topic '{}' is larger than the producer's "
                            "whole buffer of {} bytes",
                            record_bytes, topic.name, options_.buffer_bytes_max));
  }
  return {};
}

Result<bool> Accumulator::add(client::Record& record, RecordCallback& callback) {
  if (record.topic.empty() || record.topic.size() > wire::kTopicNameBytesMax) {
    return fail(ErrorCode::kInvalidTopicName,
                fmt::format("a topic's name has 1 to {} characters, not {}",
                            wire::kTopicNameBytesMax, record.topic.size()));
  }
  const SteadyTime now = clock_.now();
  if (!record.timestamp_ms) record.timestamp_ms = clock_.wall_us() / 1000;
  std::unique_lock lock(mutex_);
  if (closed_) return fail(ErrorCode::kCancelled, "the producer is closed");
  TopicQueue& topic = topic_queue(record.topic);
  const std::size_t record_bytes = show(record);
  TIDELOG_TRY(check_size(topic, record_bytes));
  const std::size_t charge = record_bytes + sizeof(RecordSlot);
  if (buffered_bytes_ + charge > options_.buffer_bytes_max) {
    const bool ended = end_lingers();
    lock.unlock();
    if (ended) wake_sender();
    return false;
  }
  if (topic.known) {
    TIDELOG_ASSIGN(PartitionQueue * partition, choose_partition(topic, record));
    append(*partition, {std::move(callback), *record.timestamp_ms}, now, current_epoch(), charge);
  } else {
    topic.waiting.push_back({std::move(record), std::move(callback), now, current_epoch(), charge});
    ++waiting_records_;
    if (!std::exchange(topic.asked, true)) {
      unknown_topics_.push_back(topic.name);
      touched_any_ = true;
    }
  }
  buffered_bytes_ += charge;
  ++unsettled_.back();
  const bool wake = std::exchange(touched_any_, false);
  lock.unlock();
  if (wake) wake_sender();
  return true;
}

bool Accumulator::end_lingers() {
  if (unsettled_.back() == 0) return false;  // nothing came since the last time
  flush_through_ = current_epoch();
  unsettled_.push_back(0);
  return true;
}

void Accumulator::wake_sender() {
  if (!woken_.exchange(true) && wake_) wake_();
}

Result<PartitionQueue*> Accumulator::choose_partition(TopicQueue& topic,
                                                      const client::Record& record) {
  std::int32_t index = topic.sticky;
  std::optional<std::int32_t> wanted = record.partition;
  if (!wanted && options_.partitioner) wanted = options_.partitioner(record, topic.partition_count);
  if (wanted) {
    index = *wanted;
    if (index < 0 || index >= topic.partition_count) {
      return fail(ErrorCode::kUnknownPartition,
                  fmt::format("topic '{}' has no partition {}; it has {}, numbered from 0",
                              topic.name, index, topic.partition_count));
    }
  } else if (record.key) {
    index = partition_of_key(*record.key, topic.partition_count);
  } else if (index < 0) {
    index = topic.with_leader.empty() ? static_cast<std::int32_t>(random_.below(
                                            static_cast<std::uint64_t>(topic.partition_count)))
                                      : topic.with_leader[random_.below(topic.with_leader.size())];
    topic.sticky = index;
  }
  return topic.partitions[static_cast<std::size_t>(index)].get();
}

void Accumulator::append(PartitionQueue& partition, RecordSlot slot, SteadyTime now,
                         std::uint64_t epoch, std::size_t charge) {
  const std::size_t limit = std::min(options_.batch_bytes_max, partition.topic.batch_bytes_limit);
  const std::size_t record_bytes = charge - sizeof(RecordSlot);
  if (partition.open && (partition.open->builder.size() + record_bytes > limit ||
                         partition.open->builder.record_count() >= wire::kRecordsPerBatchMax)) {
    close_open(partition);
  }
  if (!partition.open) {
    if (spare_.empty()) {
      partition.open = std::make_unique<Batch>();
    } else {
      partition.open = std::move(spare_.back());
      spare_.pop_back();
    }
    partition.open->opened_at = now;
    partition.open->flush_epoch = epoch;
    touch(partition);
  }
  Batch& batch = *partition.open;
  if (epoch != batch.flush_epoch) transfer(epoch, batch.flush_epoch);
  batch.payload_bytes +=
      (scratch_.key ? scratch_.key->size() : 0) + (scratch_.value ? scratch_.value->size() : 0);
  for (const wire::HeaderView& header : scratch_.headers) {
    batch.payload_bytes += header.key.size() + (header.value ? header.value->size() : 0);
  }
  batch.charged_bytes += charge;
  batch.builder.add(slot.timestamp_ms, scratch_);
  batch.records.push_back(std::move(slot));
  if (batch.builder.size() >= limit) close_open(partition);
}

void Accumulator::close_open(PartitionQueue& partition) {
  partition.ready.push_back(std::move(partition.open));
  if (partition.topic.sticky == partition.index.value()) partition.topic.sticky = -1;
  touch(partition);
}

void Accumulator::touch(PartitionQueue& partition) {
  if (std::exchange(partition.touched, true)) return;
  touched_.push_back(&partition);
  touched_any_ = true;
}

void Accumulator::wait_for_room(const client::Record& record) {
  std::unique_lock lock(mutex_);
  const std::size_t charge = show(record) + sizeof(RecordSlot);
  room_.wait(lock,
             [&] { return closed_ || buffered_bytes_ + charge <= options_.buffer_bytes_max; });
}

void Accumulator::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  room_.notify_all();
}

std::uint64_t Accumulator::begin_flush() {
  std::unique_lock lock(mutex_);
  const std::uint64_t epoch = current_epoch();
  flush_through_ = epoch;
  unsettled_.push_back(0);
  for (auto& [name, topic] : topics_) {
    for (auto& partition : topic->partitions) {
      if (partition->open) close_open(*partition);
    }
  }
  advance_epochs();
  touched_any_ = false;
  lock.unlock();
  wake_sender();
  return epoch;
}

void Accumulator::advance_epochs() {
  while (unsettled_.size() > 1 && unsettled_.front() == 0) {
    unsettled_.pop_front();
    ++first_epoch_;
  }
}

void Accumulator::transfer(std::uint64_t from_epoch, std::uint64_t to_epoch) {
  --unsettled(from_epoch);
  ++unsettled(to_epoch);
}

bool Accumulator::flushed(std::uint64_t epoch) const {
  const std::lock_guard lock(mutex_);
  return flushed_locked(epoch);
}

bool Accumulator::wait_flushed(std::uint64_t epoch,
                               std::chrono::steady_clock::time_point deadline) const {
  std::unique_lock lock(mutex_);
  return settled_.wait_until(lock, deadline, [&] { return flushed_locked(epoch); });
}

client::Producer::Statistics Accumulator::statistics() const {
  const std::lock_guard lock(mutex_);
  client::Producer::Statistics now = statistics_;
  now.buffered_bytes = buffered_bytes_;
  return now;
}

std::vector<std::string> Accumulator::take_unknown_topics() {
  const std::lock_guard lock(mutex_);
  return std::exchange(unknown_topics_, {});
}

void Accumulator::take_touched(std::vector<PartitionQueue*>& out) {
  const std::lock_guard lock(mutex_);
  for (PartitionQueue* partition : touched_) {
    partition->touched = false;
    out.push_back(partition);
  }
  touched_.clear();
}

void Accumulator::set_topic(const std::string& name, TopicFacts facts,
                            std::vector<FailedRecord>& failed) {
  const std::lock_guard lock(mutex_);
  TopicQueue& topic = topic_queue(name);
  topic.known = true;
  topic.asked = true;
  topic.partition_count = facts.partitions;
  topic.with_leader = std::move(facts.with_leader);
  topic.batch_bytes_limit = facts.batch_bytes_max == 0
                                ? wire::kBatchBytesMax
                                : std::min(facts.batch_bytes_max, wire::kBatchBytesMax);
  if (topic.sticky >= topic.partition_count) topic.sticky = -1;
  while (topic.partitions.size() < static_cast<std::size_t>(facts.partitions)) {
    const PartitionIndex index(static_cast<std::int32_t>(topic.partitions.size()));
    topic.partitions.push_back(std::make_unique<PartitionQueue>(topic, index));
  }
  std::deque<WaitingRecord> waiting = std::exchange(topic.waiting, {});
  waiting_records_ -= waiting.size();
  for (WaitingRecord& record : waiting) {
    Result<> fits = check_size(topic, show(record.record));
    Result<PartitionQueue*> partition =
        fits ? choose_partition(topic, record.record) : fail(fits.error());
    if (!partition) {
      failed.push_back({std::move(record), partition.error()});
      continue;
    }
    append(**partition, {std::move(record.callback), record.record.timestamp_ms.value_or(0)},
           record.accepted_at, record.flush_epoch, record.charged_bytes);
  }
  touched_any_ = false;  // the sender is looking already
}

std::vector<WaitingRecord> Accumulator::forget_topic(const std::string& name) {
  const std::lock_guard lock(mutex_);
  TopicQueue& topic = topic_queue(name);
  topic.known = false;
  topic.asked = false;
  topic.sticky = -1;
  std::vector<WaitingRecord> waiting;
  std::ranges::move(topic.waiting, std::back_inserter(waiting));
  topic.waiting.clear();
  waiting_records_ -= waiting.size();
  return waiting;
}

std::vector<WaitingRecord> Accumulator::take_waiting_since(SteadyTime before) {
  const std::lock_guard lock(mutex_);
  std::vector<WaitingRecord> waiting;
  if (waiting_records_ == 0) return waiting;
  for (auto& [name, topic] : topics_) {
    while (!topic->waiting.empty() && topic->waiting.front().accepted_at <= before) {
      waiting.push_back(std::move(topic->waiting.front()));
      topic->waiting.pop_front();
    }
    if (topic->waiting.empty() && !topic->known) topic->asked = false;
  }
  waiting_records_ -= waiting.size();
  return waiting;
}

std::optional<SteadyTime> Accumulator::oldest_waiting() const {
  const std::lock_guard lock(mutex_);
  std::optional<SteadyTime> oldest;
  if (waiting_records_ == 0) return oldest;
  for (const auto& [name, topic] : topics_) {
    if (topic->waiting.empty()) continue;
    const SteadyTime at = topic->waiting.front().accepted_at;
    oldest = std::min(oldest.value_or(at), at);
  }
  return oldest;
}

Accumulator::QueueState Accumulator::state(const PartitionQueue& partition) const {
  const std::lock_guard lock(mutex_);
  QueueState state;
  state.ready_batches = partition.ready.size();
  const Batch* next =
      partition.ready.empty() ? partition.open.get() : partition.ready.front().get();
  if (next == nullptr) return state;
  state.oldest = next->opened_at;
  state.next_bytes = next->builder.size();
  if (partition.ready.empty()) {
    state.open_since = next->opened_at;
    state.flushing = next->flush_epoch <= flush_through_;
  }
  return state;
}

std::unique_ptr<Batch> Accumulator::take_batch(PartitionQueue& partition) {
  const std::lock_guard lock(mutex_);
  if (!partition.ready.empty()) {
    std::unique_ptr<Batch> batch = std::move(partition.ready.front());
    partition.ready.pop_front();
    return batch;
  }
  if (partition.open && partition.topic.sticky == partition.index.value()) {
    partition.topic.sticky = -1;
  }
  return std::move(partition.open);
}

std::vector<PartitionQueue*> Accumulator::partitions(const std::string& topic) const {
  const std::lock_guard lock(mutex_);
  std::vector<PartitionQueue*> all;
  const auto at = topics_.find(topic);
  if (at == topics_.end()) return all;
  for (const auto& partition : at->second->partitions) all.push_back(partition.get());
  return all;
}

void Accumulator::release_bytes(std::size_t charged_bytes) {
  const std::lock_guard lock(mutex_);
  buffered_bytes_ -= charged_bytes;
  room_.notify_all();
}

void Accumulator::settled(std::uint64_t epoch, std::size_t records) {
  const std::lock_guard lock(mutex_);
  unsettled(epoch) -= records;
  const std::uint64_t before = first_epoch_;
  advance_epochs();
  if (first_epoch_ != before) settled_.notify_all();
}

void Accumulator::count(const client::Producer::Statistics& more) {
  const std::lock_guard lock(mutex_);
  statistics_.records_acknowledged += more.records_acknowledged;
  statistics_.records_failed += more.records_failed;
  statistics_.records_unknown += more.records_unknown;
  statistics_.bytes_acknowledged += more.bytes_acknowledged;
  statistics_.batches += more.batches;
}

void Accumulator::recycle(std::unique_ptr<Batch> batch) {
  const std::lock_guard lock(mutex_);
  if (spare_.size() >= kSpareBatchesMax || !batch->builder.empty()) return;
  wire::BatchBuilder builder = std::move(batch->builder);
  std::vector<RecordSlot> records = std::move(batch->records);
  records.clear();
  *batch = Batch{};
  batch->builder = std::move(builder);
  batch->records = std::move(records);
  spare_.push_back(std::move(batch));
}

}  // namespace tidelog::client_core
