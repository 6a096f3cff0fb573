// One per shard: commits the appends of all its logs together. What was staged in a loop turn goes
// into one write with a table of entries; at most two are in flight. A log's durable end moves over
// the contiguous prefix of its own entries that are complete. Space is used again when every entry
// of a write is stable in segments.
//
// Format: journal_format.h; recovery: journal_replay.h.
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/executor.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/fifo.h"
#include "log/io/io_queue.h"
#include "log/journal_file.h"
#include "log/journal_format.h"
#include "log/journal_ring.h"
#include "log/lane_turns.h"
#include "log/live_writes.h"
#include "log/log_options.h"
#include "log/log_store.h"
#include "log/log_tail.h"
#include "log/ring_holders.h"
#include "log/stored_journal.h"
#include "log/unproven_ends.h"

namespace tidelog::log {

// One log as its journal sees it.
class JournalLane {
 public:
  JournalLane(const TopicPartition& id, std::uint32_t incarnation, Offset end)
      : id_(id),
        incarnation_(incarnation),
        tail_(nullptr),
        durable_end_(end),
        proof_{.proven = end} {}
  virtual ~JournalLane() = default;
  JournalLane(const JournalLane&) = delete;
  JournalLane& operator=(const JournalLane&) = delete;

  Offset durable_end() const { return durable_end_; }
  // True while a journal write that holds bytes of this log is in flight.
  bool journalling() const { return !in_flight_.empty(); }

 protected:
  // Runs after durable_end() moved; `bytes` more of what was appended are stable.
  virtual void durable_moved(std::size_t bytes) = 0;
  // The ring is short of space that this log holds: bring it to segments, then say
  // room_made(). Not called again before.
  virtual void make_room(Room room) = 0;
  void set_tail(LogTail* tail) { tail_ = tail; }

 private:
  friend class Journal;
  friend class LaneTurns;
  friend class RingHolders;
  friend class UnprovenEnds;
  struct Part {
    JournalWrite* write = nullptr;
    Offset next;
    std::size_t bytes = 0;
    bool complete = false;
  };

  TopicPartition id_;
  std::uint32_t incarnation_;
  LogTail* tail_;
  Offset durable_end_;
  UnprovenEnds::Place proof_;
  LaneTurns::Place turn_;
  Fifo<Part> in_flight_;  // in the order of the log
  Fifo<Part> unstable_;   // entries whose bytes only the journal holds
  RingHolders::Place ring_place_;
};

// What a journal tells its shard.
class JournalEvents {
 public:
  virtual ~JournalEvents() = default;
  // So many writes found no space on the disk and are tried again; told after each attempt.
  virtual void journal_lacks_space(int writes) = 0;
  // A write failed for good; nothing is acknowledged any more.
  virtual void journal_failed(const Error& error) = 0;
};

class Journal {
 public:
  // Goes on behind what is stored. Until retire_unheld() all of its writes are kept.
  Journal(const ShardEnvironment& environment, io::FileSystem& file_system, const DataPaths& paths,
          const ShardLogOptions& options, StoredJournal stored, JournalEvents& events);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // While starting: says which stored writes hold what of the lane, rising in both.
  void adopt(JournalLane& lane, std::span<const HeldWrite> held);
  // Every lane was adopted: what none of them needs goes.
  void retire_unheld() { live_.retire(); }

  // Says that the lane's tail holds bytes to journal.
  void stage(JournalLane& lane);
  // Says that the lane's tail may hold none any more.
  void unstage(JournalLane& lane);
  // Starts what may start; the caller submits the queue.
  void end_of_turn();

  // Says that segments hold, durably, everything of the lane below `end`. When the journal did not
  // get there first, `end` is the durable end from now on. REQUIRES: the tail has nothing untaken
  // below `end`.
  void stable(JournalLane& lane, Offset end);

  using TruncateCallback = std::function<void(std::uint64_t sequence)>;
  // Commits that the lane is cut back to `end`, of which it keeps `head` (whole batches from `base`
  // to `end`) only here. The write's space is kept until release(sequence), beyond what stable()
  // says. REQUIRES: segments hold all of the lane, durably.
  void truncate(JournalLane& lane, Offset base, Offset end, std::vector<std::byte> head,
                TruncateCallback done);
  void release(std::uint64_t sequence);

  // Starts nothing any more and tells nobody of what still completes.
  void stop();

  // The log goes: nothing more of the lane is written. What is in the ring stays.
  void withdraw(JournalLane& lane);
  // And now its entries count as stable. REQUIRES: the lane is not journalling, or the
  // journal failed.
  void forget(JournalLane& lane);

  // What make_room() began has ended, whatever came of it.
  void room_made(JournalLane& lane) { holders_.ended(lane); }

  // True when nothing waits for a write, none is in flight and no file is being made.
  bool idle() const { return turns_.empty() && truncates_.empty() && in_flight_ == 0 && !growing_; }
  // True when no write is under way but those that found no space, and no file is being made.
  bool stands_still() const { return in_flight_ == lacking_ && !growing_; }
  // True when a write found no space, or a truncation none in the ring: what is in the files is not
  // what a clean stop leaves.
  bool half_written() const { return lacking_ > 0 || !truncates_.empty(); }
  // The largest batch that can be journalled, whatever the ring's size now.
  std::size_t batch_bytes_max() const;
  bool is_half_full() const { return ring_.used_bytes() * 2 > ring_.bytes(); }
  bool is_nearly_full() const { return ring_.used_bytes() * 4 > ring_.bytes() * 3; }
  JournalCheckpoint checkpoint() const;
  std::uint64_t writes() const { return writes_; }
  std::uint64_t write_bytes() const { return write_bytes_; }

 private:
  struct Truncate {
    JournalLane* lane = nullptr;
    JournalEntry entry;
    std::vector<std::byte> head;
    TruncateCallback done;
  };

  bool start_write();
  bool start_truncate();
  void start_bare(const JournalRing::Place& place);
  void ring_is_full(std::uint64_t least);
  std::uint64_t wanted_bytes() const;
  std::unique_ptr<JournalWrite> new_write();
  void take_entries(JournalWrite& write, std::uint64_t budget);
  void add_part(JournalWrite& write, JournalLane& lane, Offset next, std::size_t bytes);
  void send(std::unique_ptr<JournalWrite> write, const JournalRing::Place& place);
  void submit(JournalWrite& write);
  void completed(JournalWrite& write, const Result<>& result);
  struct Moved {
    JournalLane* lane;
    std::size_t bytes;
  };
  void complete_parts(JournalWrite& write, std::vector<Moved>& moved);
  void watch_space();
  void ask_for_room(std::uint64_t sequence, Room room);
  void grow(std::uint64_t bytes_least);
  void arm_quiet_write();
  void quiet_write();

  ShardEnvironment environment_;
  io::FileSystem& file_system_;
  DataPaths paths_;
  ShardLogOptions options_;
  std::vector<JournalFile> files_;
  JournalEvents& events_;
  JournalRing ring_;
  std::uint64_t id_;

  LaneTurns turns_;  // of lanes with untaken bytes
  Fifo<Truncate> truncates_;
  UnprovenEnds unproven_;
  LiveWrites live_;
  RingHolders holders_;
  std::vector<std::span<const std::byte>> pieces_;  // of the write being made
  std::vector<JournalEntry> entries_;

  std::uint64_t told_tail_ = 0;        // the highest tail sequence in a submitted header
  std::uint64_t asked_tail_ = 0;       // the tail when space was last asked for
  std::uint64_t asked_full_tail_ = 0;  // the same, when there was none left
  int in_flight_ = 0;
  int lacking_ = 0;  // of those, found no space and wait for some
  bool failed_ = false;
  bool growing_ = false;
  bool growth_failed_ = false;  // the last attempt, for want of space
  SteadyTime grow_again_at_{};  // after it
  TimerId quiet_timer_ = 0;
  SteadyTime last_activity_{};
  std::uint64_t writes_ = 0;
  std::uint64_t write_bytes_ = 0;
  // Callbacks of timers and file threads that come after destruction find this expired.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tidelog::log
