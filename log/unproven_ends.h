// The logs whose durable end nothing on the disk proves yet: their last entries may be complete,
// but no write that was submitted later names an end behind them. Rot there would look like a torn
// write, so a write that names them comes when it is quiet.
#pragma once

#include <cstddef>
#include <vector>

#include "base/ids.h"

namespace tidelog::log {

class JournalLane;

// Thread: the shard's.
class UnprovenEnds {
 public:
  // What a lane keeps for this class.
  struct Place {
    Offset proven;  // the highest durable end that a submitted write names
    bool listed = false;
  };

  // The durable end of `lane` moved.
  void moved(JournalLane& lane);
  // A write that is about to be submitted names it.
  void named(JournalLane& lane);
  void forget(JournalLane& lane);

  // Some lane may be unproven.
  bool any() const { return !lanes_.empty(); }
  // How many are. Drops those that were named meanwhile.
  std::size_t count();
  // The first `count` of them, as named. REQUIRES: so many are there.
  std::vector<JournalLane*> take(std::size_t count);

 private:
  std::vector<JournalLane*> lanes_;
};

}  // namespace tidelog::log
