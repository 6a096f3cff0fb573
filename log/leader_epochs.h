// Which epoch each part of a log was written in: the starts of all epochs, rising.
#pragma once

#include <vector>

#include "base/ids.h"
#include "log/segment_index.h"

namespace tidelog::log {

class LeaderEpochs {
 public:
  // Of the last record, or -1.
  LeaderEpoch last() const { return starts_.empty() ? LeaderEpoch(-1) : starts_.back().epoch; }
  // Enters that `epoch` begins at `start`; nothing when it is the last one already.
  // REQUIRES: epoch >= last().
  void begin(LeaderEpoch epoch, Offset start);
  // Forgets what begins at or above `end`.
  void cut(Offset end);

  struct End {
    LeaderEpoch epoch;
    Offset end;
  };
  // The highest epoch <= `epoch` and where it ends; {-1, start of the first epoch or log_end} where
  // there is none.
  End end_of(LeaderEpoch epoch, Offset log_end) const;
  // The epoch of the record at `offset`, -1 below the first.
  LeaderEpoch at(Offset offset) const;

 private:
  std::vector<EpochStart> starts_;
};

}  // namespace tidelog::log
