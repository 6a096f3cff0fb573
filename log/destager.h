// Brings journalled bytes into segments: the sealed chunks of a log, straight from memory, in plain
// writes, then one sync; after that the journal's space and the chunks' memory are free to go. Also
// makes the segments: creates the first, takes space ahead in doubling steps, rolls to the next one
// when one is full.
//
// Order that crashes rely on: a segment is complete, synced and cut to size before the next one is
// made; a new one is synced with its name before it holds anything; no block is written twice.
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "log/fifo.h"
#include "log/log_tail.h"
#include "log/segment.h"
#include "log/shard_context.h"

namespace tidelog::log {

// One log, as the destager sees it.
class DestageTarget {
 public:
  virtual ~DestageTarget() = default;
  virtual const TopicPartition& target_id() const = 0;
  virtual const PartitionLogSettings& target_settings() const = 0;
  virtual LogTail& target_tail() = 0;
  virtual SegmentList& target_segments() = 0;
  virtual Offset target_durable_end() const = 0;
  // Chunks that end above it stay.
  virtual Offset target_limit() const = 0;
  // False while it is cut or removed: nothing new is begun.
  virtual bool target_open() const = 0;
  // Segments hold everything below `end`, durably.
  virtual void destaged(Offset end) = 0;
  // A segment was made; it is the active one now.
  virtual void segment_made() = 0;
  // Nothing of it is under way any more (it may be asked for again).
  virtual void destage_ended() = 0;

  bool destaging() const { return destaging_; }

 private:
  friend class Destager;
  bool wanted_ = false;
  bool destaging_ = false;
  bool roll_wanted_ = false;
  std::uint64_t space_step_ = 0;  // of the last allocation
};

class Destager {
 public:
  explicit Destager(ShardContext& context) : context_(context) {}

  // Brings the sealed, durable chunks of `target` to its segments, soon. Asking again meanwhile is
  // remembered.
  void request(const std::shared_ptr<DestageTarget>& target);
  // Ends the active segment, soon, where it holds anything: what comes later begins another.
  void request_roll(const std::shared_ptr<DestageTarget>& target);
  // What waits is not begun: whoever needs it asks again.
  void drop_waiting();
  // True when nothing waits and nothing is under way.
  bool idle() const { return queue_.empty() && running_ == 0; }

 private:
  struct Job;
  using JobPtr = std::shared_ptr<Job>;

  void start_next();
  void step(const JobPtr& job);
  void make_segment(const JobPtr& job, bool roll);
  void open_file(const JobPtr& job);
  void take_space(const JobPtr& job, std::uint64_t needed);
  void write(const JobPtr& job);
  void written(const JobPtr& job, const Result<>& result);
  // The job's bytes are synced, or failed: others may write.
  void settle(const JobPtr& job);
  void synced(const JobPtr& job);
  void save_index_so_far(const JobPtr& job);
  void finish(const JobPtr& job);
  // Tries the step again later when space ran out, ends the job when the shard is closing; else the
  // directory failed.
  void trouble(const JobPtr& job, const Error& error);
  void space_found(const JobPtr& job);
  std::uint64_t space_step(DestageTarget& target, std::uint64_t needed) const;

  ShardContext& context_;
  Fifo<std::shared_ptr<DestageTarget>> queue_;
  int running_ = 0;
  std::uint64_t unsynced_bytes_ = 0;  // of all jobs
  Fifo<JobPtr> writers_;              // that wait until fewer are
};

}  // namespace tidelog::log
