// One life of a LogStore on a simulated disk, and a ledger, kept outside of it, of what was
// appended and what was acknowledged.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "log/log_store.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_io_queue.h"

namespace tidelog::log {

// A topic id made of one byte, and a partition.
TopicPartition partition_of(std::uint8_t topic, std::int32_t partition);

// A batch as a producer sends it: one record of `bytes` bytes that depend on `seed`.
std::vector<std::byte> make_batch(const TopicPartition& id, std::uint64_t seed, std::size_t bytes,
                                  std::int64_t timestamp_ms = 1000);

// What one log should hold.
struct LedgerLog {
  struct Batch {
    Offset next;
    std::vector<std::byte> bytes;  // as stamped
  };
  std::map<Offset, Batch> batches;   // appended, by base offset
  Offset acknowledged;               // what the listener heard
  bool removed = false;              // from the moment on when removal began
  std::optional<Offset> truncating;  // while a truncation is under way: to here
  Offset start;                      // the least that the log's start may be
  Offset start_max;                  // the most: more while a trim is under way

  Offset end() const { return batches.empty() ? Offset(0) : batches.rbegin()->second.next; }
};

struct Ledger {
  std::map<TopicPartition, LedgerLog> logs;
};

struct HarnessOptions {
  std::size_t shards = 2;
  LogStoreOptions store = small_store();
  PartitionLogSettings settings = small_settings();
  std::uint64_t seed = 1;
  std::function<std::chrono::microseconds(const sim::SimIoOperation&)> latency;
  io::FileSystem* files = nullptr;      // over the disk; null: the disk itself
  BlockingExecutor* removal = nullptr;  // null: the harness's own executor

  static LogStoreOptions small_store();
  static PartitionLogSettings small_settings();
};

class LogHarness {
 public:
  LogHarness(sim::SimDisk& disk, Ledger& ledger, HarnessOptions options = {});
  ~LogHarness();

  Result<> open();
  LogStore& store() { return *store_; }
  // False before open() succeeded, and after a clean stop.
  bool running() const { return store_ != nullptr; }
  sim::SimExecutor& executor() { return executor_; }
  ShardLogs& shard_of(const TopicPartition& id) { return store_->shard(shard_index(id)); }
  std::vector<PartitionLog*> all();
  PartitionLog* find(const TopicPartition& id) { return shard_of(id).find(id); }

  // Each drives the executor until the answer is there, or the power is off (then false).
  bool create(const TopicPartition& id);
  bool remove(const TopicPartition& id);
  bool truncate(const TopicPartition& id, Offset offset);
  bool trim(const TopicPartition& id, Offset offset);
  bool wait_durable(const TopicPartition& id);
  // Closes all shards and writes the marker.
  bool stop_cleanly();
  void idle() { executor_.run_until_idle(); }
  // Lets quiet writes and checkpoints happen.
  void pass(std::chrono::milliseconds time) { executor_.run_for(time); }

  // Appends a batch and enters it in the ledger; the error otherwise.
  Result<AppendResult> append(const TopicPartition& id, std::size_t bytes,
                              LeaderEpoch epoch = LeaderEpoch(1));
  // The same with a batch that the caller made.
  Result<AppendResult> append_batch(const TopicPartition& id, std::span<const std::byte> batch,
                                    LeaderEpoch epoch = LeaderEpoch(1));
  // Follows `id` in the ledger: its durable listener. What is durable counts as committed.
  void listen(const TopicPartition& id);

  // Everything from `from` to `up_to`, through read(). REQUIRES: the power is on.
  Result<std::vector<std::byte>> read_all(const TopicPartition& id, Offset from, Offset up_to);

 private:
  std::size_t shard_index(const TopicPartition& id) const;

  sim::SimDisk& disk_;
  Ledger& ledger_;
  HarnessOptions options_;
  BufferPool buffers_{std::size_t{64} << 20};
  sim::SimExecutor executor_;
  std::vector<std::unique_ptr<sim::SimIoQueue>> queues_;
  std::unique_ptr<LogStore> store_;
  std::uint64_t next_seed_ = 1;
};

// Compares a recovered store with the ledger: every acknowledged batch is there byte-identical at
// its offset; what else is there was appended, at that offset, once. Returns what is wrong, or "".
std::string compare(LogHarness& harness, const Ledger& ledger);

}  // namespace tidelog::log
