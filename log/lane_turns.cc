#include "log/lane_turns.h"

#include <algorithm>
#include <utility>

#include "log/journal.h"

namespace tidelog::log {

void LaneTurns::add(JournalLane& lane) {
  if (std::exchange(lane.turn_.waits, true)) return;
  lanes_.push_back(&lane);
}

void LaneTurns::remove(JournalLane& lane) {
  if (!std::exchange(lane.turn_.waits, false)) return;
  for (std::size_t i = lanes_.size(); i > 0; --i) {
    JournalLane* other = lanes_.front();
    lanes_.pop_front();
    if (other != &lane) lanes_.push_back(other);
  }
}

JournalLane& LaneTurns::current() {
  while (lanes_.front()->turn_.credit <= 0) end_turn(true);
  return *lanes_.front();
}

std::size_t LaneTurns::credit() const {
  return static_cast<std::size_t>(lanes_.front()->turn_.credit);
}

void LaneTurns::took(std::size_t bytes, bool more) {
  std::int64_t& credit = lanes_.front()->turn_.credit;
  credit -= static_cast<std::int64_t>(bytes);
  if (credit <= 0 || !more) end_turn(more);
}

void LaneTurns::end_turn(bool more) {
  JournalLane& lane = *lanes_.front();
  lane.turn_.credit = std::min(lane.turn_.credit + kTurnBytes, kTurnBytes);
  lanes_.pop_front();
  lane.turn_.waits = false;
  if (more) add(lane);
}

}  // namespace tidelog::log
