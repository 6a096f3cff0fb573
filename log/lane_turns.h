// Whose bytes the next journal write takes: deficit round robin (Shreedhar and Varghese, 1995) over
// the lanes that have bytes which no write took. Batches are never split, so a lane goes into debt
// for the last one of its turn, and sits out as many turns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "log/fifo.h"

namespace tidelog::log {

class JournalLane;

// Thread: the shard's.
class LaneTurns {
 public:
  static constexpr std::int64_t kTurnBytes = std::int64_t{256} << 10;

  // What a lane keeps for this class.
  struct Place {
    bool waits = false;
    // What it may still put into writes in its turn; not above zero: it is in debt.
    std::int64_t credit = kTurnBytes;
  };

  // `lane` has bytes: it waits for its turn, unless it does so already.
  void add(JournalLane& lane);
  // It has none any more.
  void remove(JournalLane& lane);

  bool empty() const { return lanes_.empty(); }
  // Those that wait, the next one first.
  const Fifo<JournalLane*>& lanes() const { return lanes_; }

  // The lane whose turn it is. REQUIRES: not empty().
  JournalLane& current();
  // What it should take at most, though one batch always. REQUIRES: as current() left it.
  std::size_t credit() const;
  // A write took so many bytes of it; `more`: it has others. Where only the write's end cut its
  // turn short, the next write goes on with it.
  void took(std::size_t bytes, bool more);

 private:
  // Gives the current lane the credit of its next turn, which comes after the others'.
  void end_turn(bool more);

  Fifo<JournalLane*> lanes_;
};

}  // namespace tidelog::log
