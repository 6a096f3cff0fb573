// The writes of a journal that count: in flight, or holding bytes that are nowhere else. Gives
// sequences, knows up to which one all are complete, and which is the oldest still needed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/buffer_pool.h"
#include "log/fifo.h"
#include "log/journal_ring.h"

namespace tidelog::log {

class JournalLane;

struct JournalWrite {
  std::uint64_t sequence = 0;
  std::uint64_t tail = 0;  // as its header says
  JournalRing::Place place;
  Buffer image;
  std::size_t bytes = 0;
  std::vector<JournalLane*> lanes;  // to be told; null: forgotten
  std::size_t holds = 0;            // entries whose bytes are nowhere else
  bool complete = false;
  bool lacks_space = false;  // tried again until there is some
  std::function<void(std::uint64_t sequence)> truncated;
};

// Thread: the shard's.
class LiveWrites {
 public:
  // An empty write, for add().
  std::unique_ptr<JournalWrite> make();
  // Gives it the next sequence and the tail of now.
  JournalWrite& add(std::unique_ptr<JournalWrite> write);
  // Enters a write of an earlier life, complete. REQUIRES: it is the first, or has the next
  // sequence.
  void adopt(std::uint64_t sequence);

  // `write` is complete; durable_sequence() follows.
  void completed(JournalWrite& write);
  // One more, or one less, entry of the write is nowhere else. REQUIRES: it lives.
  void hold(std::uint64_t sequence) { ++at(sequence).holds; }
  void release(std::uint64_t sequence) { --at(sequence).holds; }
  // Drops the oldest ones that are complete and hold nothing.
  void retire();
  // No write tells `lane` anything any more.
  void forget(JournalLane& lane);

  bool empty() const { return writes_.empty(); }
  // REQUIRES: it lives.
  JournalWrite& at(std::uint64_t sequence);
  std::uint64_t next_sequence() const { return next_sequence_; }
  // Everything up to here is complete.
  std::uint64_t durable_sequence() const { return durable_sequence_; }
  // The oldest that is still needed; the next one when none is.
  std::uint64_t tail_sequence() const {
    return writes_.empty() ? next_sequence_ : writes_.front()->sequence;
  }
  // Of the write in the middle. REQUIRES: not empty().
  std::uint64_t middle_sequence() const { return writes_[writes_.size() / 2]->sequence; }

 private:
  Fifo<std::unique_ptr<JournalWrite>> writes_;  // dense in sequence
  std::vector<std::unique_ptr<JournalWrite>> spare_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t durable_sequence_ = 0;
};

}  // namespace tidelog::log
