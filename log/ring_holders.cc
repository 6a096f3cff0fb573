#include "log/ring_holders.h"

#include <vector>

#include "log/journal.h"

namespace tidelog::log {

void RingHolders::move(Place& place, Place::Set& to, std::uint64_t sequence, JournalLane& lane) {
  Place::Set::node_type node =
      place.in != nullptr ? place.in->extract(place.at) : std::move(place.spare);
  if (node.empty()) {
    place.at = to.insert({{sequence, place.number}, &lane}).first;
  } else {
    node.value() = {{sequence, place.number}, &lane};
    place.at = to.insert(std::move(node)).position;
  }
  place.in = &to;
}

void RingHolders::hold(JournalLane& lane, std::uint64_t sequence) {
  Place& place = lane.ring_place_;
  if (place.number == 0) place.number = next_number_++;
  move(place, unasked_, sequence, lane);
}

void RingHolders::release(JournalLane& lane) {
  Place& place = lane.ring_place_;
  if (place.in == nullptr) return;
  place.spare = place.in->extract(place.at);
  place.in = nullptr;
}

void RingHolders::ended(JournalLane& lane) {
  Place& place = lane.ring_place_;
  if (place.in != nullptr && place.in != &unasked_) {
    move(place, unasked_, place.at->key.first, lane);
  }
}

void RingHolders::ask_in(Place::Set& from, Place::Set& to, std::uint64_t sequence,
                         const std::function<void(JournalLane&)>& ask) {
  // First moved, then asked: what it does may end at once.
  std::vector<JournalLane*> asked;
  while (!from.empty() && from.begin()->key.first <= sequence) {
    JournalLane& lane = *from.begin()->lane;
    move(lane.ring_place_, to, from.begin()->key.first, lane);
    asked.push_back(&lane);
  }
  for (JournalLane* lane : asked) ask(*lane);
}

void RingHolders::ask(std::uint64_t sequence, Room room,
                      const std::function<void(JournalLane&)>& ask) {
  if (room == Room::kWanted) return ask_in(unasked_, wanted_, sequence, ask);
  ask_in(wanted_, needed_, sequence, ask);
  ask_in(unasked_, needed_, sequence, ask);
}

}  // namespace tidelog::log
