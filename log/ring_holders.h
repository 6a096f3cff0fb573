// Which logs hold up the space of a journal's ring, by the oldest write that has bytes of theirs
// that no segment has. Each is asked once to make room, and may be asked again when what it does
// about it has ended: asking costs nothing for those that were asked before, however many they are.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <utility>

namespace tidelog::log {

class JournalLane;

// How urgently room is wanted.
enum class Room : std::uint8_t {
  kWanted,  // soon: of what is durable
  kNeeded,  // nothing can be journalled before: also of what is not durable yet
};

// Thread: the shard's. No allocation but for a log that holds space for the first time.
class RingHolders {
 public:
  // What a lane keeps for this class.
  struct Place {
    using Key = std::pair<std::uint64_t, std::uint64_t>;  // oldest write, number of the lane
    struct Entry {
      Key key;
      JournalLane* lane = nullptr;
      bool operator<(const Entry& other) const { return key < other.key; }
    };
    using Set = std::set<Entry>;

    Set* in = nullptr;  // null: holds nothing
    Set::iterator at;
    Set::node_type spare;
    std::uint64_t number = 0;
  };

  // `lane` holds space from the write `sequence` on, and was not asked for it.
  void hold(JournalLane& lane, std::uint64_t sequence);
  // It holds none.
  void release(JournalLane& lane);
  // What it did has ended: it may be asked for what it still holds.
  void ended(JournalLane& lane);

  // Calls `ask` for those that hold `sequence` or older writes and were not asked so urgently yet.
  void ask(std::uint64_t sequence, Room room, const std::function<void(JournalLane&)>& ask);

 private:
  static void move(Place& place, Place::Set& to, std::uint64_t sequence, JournalLane& lane);
  void ask_in(Place::Set& from, Place::Set& to, std::uint64_t sequence,
              const std::function<void(JournalLane&)>& ask);

  Place::Set unasked_;
  Place::Set wanted_;  // asked once
  Place::Set needed_;  // asked urgently
  std::uint64_t next_number_ = 1;
};

}  // namespace tidelog::log
