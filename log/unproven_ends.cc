#include "log/unproven_ends.h"

#include <algorithm>
#include <utility>

#include "log/journal.h"

namespace tidelog::log {

void UnprovenEnds::moved(JournalLane& lane) {
  // A truncation moves it back.
  lane.proof_.proven = std::min(lane.proof_.proven, lane.durable_end_);
  if (!std::exchange(lane.proof_.listed, true)) lanes_.push_back(&lane);
}

void UnprovenEnds::named(JournalLane& lane) { lane.proof_.proven = lane.durable_end_; }

void UnprovenEnds::forget(JournalLane& lane) {
  if (std::exchange(lane.proof_.listed, false)) std::erase(lanes_, &lane);
}

std::size_t UnprovenEnds::count() {
  std::erase_if(lanes_, [](JournalLane* lane) {
    if (lane->durable_end_ > lane->proof_.proven) return false;
    lane->proof_.listed = false;
    return true;
  });
  return lanes_.size();
}

std::vector<JournalLane*> UnprovenEnds::take(std::size_t count) {
  const auto end = lanes_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<JournalLane*> taken(lanes_.begin(), end);
  lanes_.erase(lanes_.begin(), end);
  for (JournalLane* lane : taken) {
    lane->proof_.listed = false;
    named(*lane);
  }
  return taken;
}

}  // namespace tidelog::log
