// Where users' threads leave records and the sender finds batches: bounded in bytes, and in order
// per partition.
//
// A record is encoded straight into its partition's open batch under one short lock; while its
// topic is not known it waits whole.
// Thread: add(), the waits, flushes and statistics: any. Everything else: the sender's executor.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/backoff.h"
#include "client/producer/batch.h"

namespace tidelog::client_core {

struct AccumulatorOptions {
  std::size_t batch_bytes_max = 256 * 1024;
  std::size_t buffer_bytes_max = 64 * 1024 * 1024;
  client::Partitioner partitioner{};  // may be null
  std::uint64_t seed = 1;             // of sticky partitions
};

// A record that cannot be sent, for the sender to report.
struct FailedRecord {
  WaitingRecord record;
  Error error;
};

class Accumulator {
 public:
  // `clock` must outlive this.
  Accumulator(const Clock& clock, AccumulatorOptions options);

  // Called, on any thread, when there is something new for the sender; not again until
  // begin_collecting().
  void on_work(std::function<void()> wake) { wake_ = std::move(wake); }

  // Takes record and callback: true. False: the buffer is full, both are untouched, and nothing in
  // it waits for its linger any more.
  // Fails with kCancelled (closed), kBatchTooLarge, kInvalidTopicName, kUnknownPartition; the
  // callback is untouched then, and its caller's to run.
  Result<bool> add(client::Record& record, RecordCallback& callback);
  // Waits until the buffer has room for this record, or the producer closed.
  void wait_for_room(const client::Record& record);
  // add() refuses from now on.
  void close();

  // Closes open batches and names everything accepted so far.
  std::uint64_t begin_flush();
  bool flushed(std::uint64_t epoch) const;
  // Waits until all records up to `epoch` are settled and their callbacks have run.
  bool wait_flushed(std::uint64_t epoch, std::chrono::steady_clock::time_point deadline) const;

  client::Producer::Statistics statistics() const;

  // The sender begins to look: what is added from now on calls the hook again.
  void begin_collecting() { woken_.store(false); }
  // Names of topics that records wait for, each once.
  std::vector<std::string> take_unknown_topics();
  // Partitions that got a first record or a full batch, appended.
  void take_touched(std::vector<PartitionQueue*>& out);

  // What metadata says of a topic: waiting records move to their partitions. Those that cannot are
  // appended to `failed`.
  struct TopicFacts {
    std::int32_t partitions = 0;
    std::vector<std::int32_t> with_leader;
    std::size_t batch_bytes_max = 0;
  };
  void set_topic(const std::string& name, TopicFacts facts, std::vector<FailedRecord>& failed);
  // Gives up a topic: what waits for it, and the partitions' batches, for the sender to fail. The
  // next record of this name asks again.
  std::vector<WaitingRecord> forget_topic(const std::string& name);
  // Waiting records accepted before `before`, over all topics.
  std::vector<WaitingRecord> take_waiting_since(SteadyTime before);
  // When the oldest waiting record was accepted.
  std::optional<SteadyTime> oldest_waiting() const;

  // How a partition's queue stands.
  struct QueueState {
    std::size_t ready_batches = 0;
    std::size_t next_bytes = 0;            // about, of the batch that take_batch() would give
    std::optional<SteadyTime> oldest;      // when its first record was accepted
    std::optional<SteadyTime> open_since;  // of the open batch, if that is the next
    bool flushing = false;                 // a flush, or room, waits for the open batch
  };
  QueueState state(const PartitionQueue& partition) const;
  // The oldest batch, the open one included; null when there is none.
  std::unique_ptr<Batch> take_batch(PartitionQueue& partition);
  // All partitions of a topic, in order; empty when it is not known.
  std::vector<PartitionQueue*> partitions(const std::string& topic) const;

  // The bytes of settled records may be used again; call before their callbacks.
  void release_bytes(std::size_t charged_bytes);
  // The callbacks of `records` records of this epoch have run.
  void settled(std::uint64_t epoch, std::size_t records);
  void count(const client::Producer::Statistics& more);
  // Keeps the memory of a settled batch for another.
  void recycle(std::unique_ptr<Batch> batch);

 private:
  TopicQueue& topic_queue(const std::string& name);
  Result<PartitionQueue*> choose_partition(TopicQueue& topic, const client::Record& record);
  // Encodes the record that scratch_ shows. `epoch` is the one it is counted in.
  void append(PartitionQueue& partition, RecordSlot slot, SteadyTime now, std::uint64_t epoch,
              std::size_t charge);
  // Makes scratch_ show a record and returns its encoded size, at most.
  std::size_t show(const client::Record& record);
  void close_open(PartitionQueue& partition);
  void touch(PartitionQueue& partition);
  // What is there must go, since nothing more fits: open batches are to be sent as for a flush. No
  // partition is looked at, or a full buffer would cost time for each record that does not fit.
  bool end_lingers();
  void wake_sender();
  Result<> check_size(const TopicQueue& topic, std::size_t record_bytes) const;
  std::uint64_t current_epoch() const { return first_epoch_ + unsettled_.size() - 1; }
  std::size_t& unsettled(std::uint64_t epoch) { return unsettled_[epoch - first_epoch_]; }
  void advance_epochs();
  void transfer(std::uint64_t from_epoch, std::uint64_t to_epoch);
  bool flushed_locked(std::uint64_t epoch) const { return first_epoch_ > epoch; }

  const Clock& clock_;
  const AccumulatorOptions options_;
  std::function<void()> wake_;
  std::atomic<bool> woken_{false};

  mutable std::mutex mutex_;
  std::condition_variable room_;
  mutable std::condition_variable settled_;
  std::map<std::string, std::unique_ptr<TopicQueue>, std::less<>> topics_;
  TopicQueue* last_topic_ = nullptr;  // most producers write one topic in a row
  std::vector<std::string> unknown_topics_;
  std::vector<PartitionQueue*> touched_;
  std::vector<std::unique_ptr<Batch>> spare_;
  std::size_t buffered_bytes_ = 0;
  std::size_t waiting_records_ = 0;  // of all topics: mostly none, and no topic need be looked at
  bool touched_any_ = false;
  bool closed_ = false;
  SeededRandom random_;
  // Unsettled records of each epoch from first_epoch_ to the current one, which is the last.
  std::deque<std::size_t> unsettled_{0};
  std::uint64_t first_epoch_ = 1;
  std::uint64_t flush_through_ = 0;
  client::Producer::Statistics statistics_;
  wire::RecordView scratch_;
};

}  // namespace tidelog::client_core
