#include "log/leader_epochs.h"

#include <algorithm>

#include "base/check.h"

namespace tidelog::log {

void LeaderEpochs::begin(LeaderEpoch epoch, Offset start) {
  TIDELOG_CHECK(epoch >= last(), "epochs never go back");
  if (epoch != last()) starts_.push_back({epoch, start});
}

void LeaderEpochs::cut(Offset end) {
  while (!starts_.empty() && starts_.back().start >= end) starts_.pop_back();
}

LeaderEpochs::End LeaderEpochs::end_of(LeaderEpoch epoch, Offset log_end) const {
  const auto next = std::ranges::upper_bound(starts_, epoch, {}, &EpochStart::epoch);
  const Offset end = next == starts_.end() ? log_end : next->start;
  return {next == starts_.begin() ? LeaderEpoch(-1) : (next - 1)->epoch, end};
}

LeaderEpoch LeaderEpochs::at(Offset offset) const {
  const auto next = std::ranges::upper_bound(starts_, offset, {}, &EpochStart::start);
  return next == starts_.begin() ? LeaderEpoch(-1) : (next - 1)->epoch;
}

}  // namespace tidelog::log
