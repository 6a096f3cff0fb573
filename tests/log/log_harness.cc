#include "tests/log/log_harness.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/sim_random.h"
#include "wire/batch_builder.h"

namespace tidelog::log {

TopicPartition partition_of(std::uint8_t topic, std::int32_t partition) {
  TopicPartition id;
  id.topic.bytes.fill(topic);
  id.partition = PartitionIndex(partition);
  return id;
}

std::vector<std::byte> make_batch(const TopicPartition& id, std::uint64_t seed, std::size_t bytes,
                                  std::int64_t timestamp_ms) {
  sim::SimRandom random(seed);
  std::string value(bytes, 'x');
  for (char& c : value) c = static_cast<char>('a' + random.below(26));
  wire::BatchBuilder builder;
  BufferPool pool(0);
  wire::RecordView record;
  record.value = value;
  builder.add(timestamp_ms, record);
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(id), {}, pool);
  return {batch->bytes().begin(), batch->bytes().end()};
}

LogStoreOptions HarnessOptions::small_store() {
  LogStoreOptions options;
  options.path = "data";
  options.broker_id = 1;
  options.shard.journal_bytes_min = 64 << 10;
  options.shard.journal_bytes_max = 256 << 10;
  options.shard.journal_write_bytes_max = 16 << 10;
  options.shard.destage_bytes = 16 << 10;
  options.shard.index_interval_bytes = 4 << 10;
  options.shard.index_save_bytes = 16 << 10;
  options.shard.tail_cache_bytes = 32 << 10;
  options.shard.replay_bytes_max = 4 << 10;
  options.shard.read_cache_bytes = 64 << 10;
  options.shard.cold_read_bytes = 16 << 10;
  // Only writes that fail say that a small disk is full.
  options.shard.free_space_bytes_min = 0;
  options.shard.free_space_ratio_min = 0;
  return options;
}

PartitionLogSettings HarnessOptions::small_settings() {
  PartitionLogSettings settings;
  settings.segment_bytes = 64 << 10;
  return settings;
}

LogHarness::LogHarness(sim::SimDisk& disk, Ledger& ledger, HarnessOptions options)
    : disk_(disk), ledger_(ledger), options_(std::move(options)), executor_(options_.seed) {
  for (std::size_t i = 0; i < options_.shards; ++i) {
    queues_.push_back(std::make_unique<sim::SimIoQueue>(
        disk_, executor_,
        sim::SimIoOptions{.seed = options_.seed * 31 + i, .latency = options_.latency}));
  }
}

LogHarness::~LogHarness() { executor_.clear_end_of_turn_hooks(); }

std::size_t LogHarness::shard_index(const TopicPartition& id) const {
  return (id.topic.bytes[0] + static_cast<std::size_t>(id.partition.value())) % options_.shards;
}

Result<> LogHarness::open() {
  std::vector<ShardEnvironment> shards;
  for (auto& queue : queues_) {
    shards.push_back({.executor = &executor_,
                      .queue = queue.get(),
                      .blocking = &executor_,
                      .removal = options_.removal,
                      .buffers = &buffers_});
  }
  io::FileSystem& files = options_.files != nullptr ? *options_.files : disk_;
  TIDELOG_ASSIGN(store_, LogStore::open(
                             files, options_.store, shards,
                             [this](const TopicPartition& id) { return shard_index(id); },
                             [this](const TopicPartition&) { return options_.settings; }));
  for (std::size_t i = 0; i < options_.shards; ++i) {
    executor_.at_end_of_turn([this, i] {
      if (store_) store_->shard(i).end_of_turn();
    });
  }
  return {};
}

void LogHarness::listen(const TopicPartition& id) {
  LedgerLog& entry = ledger_.logs[id];
  find(id)->on_durable([&entry, log = find(id)](Offset end) {
    entry.acknowledged = std::max(entry.acknowledged, end);
    log->set_checkpointed_high_watermark(end);
  });
}

std::vector<PartitionLog*> LogHarness::all() {
  std::vector<PartitionLog*> all;
  for (std::size_t i = 0; i < options_.shards; ++i) {
    for (PartitionLog* log : store_->shard(i).all()) all.push_back(log);
  }
  return all;
}

bool LogHarness::create(const TopicPartition& id) {
  bool answered = false;
  shard_of(id).create(id, options_.settings,
                      [&](Result<PartitionLog*> log) { answered = log.has_value(); });
  if (!executor_.run_until([&] { return answered || disk_.powered_off(); }) || !answered)
    return false;
  ledger_.logs[id] = LedgerLog();
  listen(id);
  return true;
}

bool LogHarness::remove(const TopicPartition& id) {
  ledger_.logs[id].removed = true;
  bool answered = false;
  shard_of(id).remove(id, [&](Result<> result) { answered = result.has_value(); });
  executor_.run_until([&] { return answered || disk_.powered_off(); });
  if (!answered) return false;
  ledger_.logs.erase(id);
  return true;
}

bool LogHarness::truncate(const TopicPartition& id, Offset offset) {
  LedgerLog& entry = ledger_.logs[id];
  entry.truncating = offset;
  bool answered = false;
  find(id)->truncate(offset, [&](Result<> result) { answered = result.has_value(); });
  executor_.run_until([&] { return answered || disk_.powered_off(); });
  if (!answered) return false;
  entry.truncating.reset();
  entry.batches.erase(entry.batches.lower_bound(offset), entry.batches.end());
  entry.acknowledged = std::min(entry.acknowledged, offset);
  return true;
}

bool LogHarness::trim(const TopicPartition& id, Offset offset) {
  LedgerLog& entry = ledger_.logs[id];
  entry.start_max = std::max(entry.start_max, offset);
  bool answered = false;
  find(id)->trim(offset, [&](Result<> result) { answered = result.has_value(); });
  executor_.run_until([&] { return answered || disk_.powered_off(); });
  if (!answered) return false;
  entry.start = std::max(entry.start, offset);
  return true;
}

bool LogHarness::wait_durable(const TopicPartition& id) {
  PartitionLog* log = find(id);
  executor_.run_until([&] { return log->durable_end() == log->log_end() || disk_.powered_off(); });
  return log->durable_end() == log->log_end();
}

bool LogHarness::stop_cleanly() {
  std::size_t closed = 0;
  for (std::size_t i = 0; i < options_.shards; ++i) {
    store_->shard(i).close([&](Result<> result) { closed += result.has_value() ? 1 : 0; });
  }
  executor_.run_until([&] { return closed == options_.shards || disk_.powered_off(); });
  if (closed != options_.shards) return false;
  const bool marked = store_->finish_clean_stop().has_value();
  executor_.clear_end_of_turn_hooks();
  store_.reset();
  return marked;
}

Result<AppendResult> LogHarness::append(const TopicPartition& id, std::size_t bytes,
                                        LeaderEpoch epoch) {
  return append_batch(id, make_batch(id, next_seed_++ + options_.seed * 1000003, bytes), epoch);
}

Result<AppendResult> LogHarness::append_batch(const TopicPartition& id,
                                              std::span<const std::byte> batch, LeaderEpoch epoch) {
  PartitionLog* log = find(id);
  TIDELOG_ASSIGN(const AppendResult result, log->append(batch, epoch));
  const ReadLimits limits{.up_to = log->log_end(), .bytes_max = 1, .at_least_one = true};
  auto stamped = log->read_tail(result.base_offset, limits);
  const auto& pieces = stamped->value().pieces;
  const auto bytes_read = pieces.front().bytes();
  ledger_.logs[id].batches[result.base_offset] = {result.next_offset,
                                                  {bytes_read.begin(), bytes_read.end()}};
  return result;
}

Result<std::vector<std::byte>> LogHarness::read_all(const TopicPartition& id, Offset from,
                                                    Offset up_to) {
  std::vector<std::byte> all;
  while (from < up_to) {
    std::optional<Result<ReadResult>> answer;
    find(id)->read(from, {.up_to = up_to, .bytes_max = 8000, .at_least_one = true},
                   [&](Result<ReadResult> result) { answer = std::move(result); });
    executor_.run_until([&] { return answer.has_value(); });
    if (!answer) return fail(ErrorCode::kTimedOut, "no answer");
    if (!*answer) return fail(answer->error());
    if ((*answer)->bytes == 0) break;
    for (const SharedBytes& piece : (*answer)->pieces) {
      all.insert(all.end(), piece.bytes().begin(), piece.bytes().end());
    }
    from = (*answer)->next_offset;
  }
  return all;
}

std::string compare(LogHarness& harness, const Ledger& ledger) {
  for (const auto& [id, expected] : ledger.logs) {
    PartitionLog* log = harness.find(id);
    if (log == nullptr) {
      if (expected.removed) continue;
      return fmt::format("{} is gone", id.to_string());
    }
    if (log->health() != LogHealth::kSound) return fmt::format("{} is not sound", id.to_string());
    Offset acknowledged = expected.acknowledged;
    if (expected.truncating) acknowledged = std::min(acknowledged, *expected.truncating);
    if (log->log_end() < acknowledged) {
      return fmt::format("{} ends at {}, {} was acknowledged", id.to_string(),
                         log->log_end().value(), acknowledged.value());
    }
    const Offset start = log->log_start();
    if (start < expected.start || start > expected.start_max) {
      return fmt::format("{} begins at {}, not from {} to {}", id.to_string(), start.value(),
                         expected.start.value(), expected.start_max.value());
    }
    const auto held = harness.read_all(id, log->log_start(), log->log_end());
    if (!held) return fmt::format("{}: {}", id.to_string(), held.error().to_string());
    std::vector<std::byte> wanted;
    for (const auto& [base, batch] : expected.batches) {
      if (base >= start && base < log->log_end())
        wanted.insert(wanted.end(), batch.bytes.begin(), batch.bytes.end());
    }
    if (*held != wanted) {
      return fmt::format("{} holds {} bytes up to offset {} that differ from the {} appended",
                         id.to_string(), held->size(), log->log_end().value(), wanted.size());
    }
  }
  for (PartitionLog* log : harness.all()) {
    if (!ledger.logs.contains(log->id()) && log->log_end() != Offset(0)) {
      return fmt::format("{} holds records that nobody appended", log->id().to_string());
    }
  }
  return "";
}

}  // namespace tidelog::log
