// Where the next journal write goes: the space of the ring's files, in their order, as one circle.
//
// A write lies in one file. The space of a write may be used again only when a later write that
// says so in its header (tail sequence) is on the disk: only then can recovery tell "overwritten,
// was stable" from "lost". So that such a write always finds room, ordinary writes leave two blocks
// free.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "log/fifo.h"

namespace tidelog::log {

// Thread: one.
class JournalRing {
 public:
  // A file of `bytes`, the last in the circle from now on.
  void add_file(std::uint64_t bytes) { file_bytes_.push_back(bytes); }
  std::uint32_t files() const { return static_cast<std::uint32_t>(file_bytes_.size()); }
  std::uint64_t bytes() const;
  // Bytes that cannot be used yet.
  std::uint64_t used_bytes() const { return used_; }
  // Bytes of the writes below `sequence` that are not given back yet.
  std::uint64_t bytes_below(std::uint64_t sequence) const;
  // The most that one write can ever have with these files.
  std::uint64_t largest_write() const;

  struct Place {
    std::uint32_t file = 0;
    std::uint64_t position = 0;
    std::uint64_t room = 0;  // from position on
  };
  // Where a write of `wanted` bytes fits, or else where the most room is, if that is `least` or
  // more; nullopt: the ring is full. Bytes are multiples of a block.
  std::optional<Place> find(std::uint64_t least, std::uint64_t wanted) const;
  // Where a block fits, reserve included; for the write that frees space.
  std::optional<Place> find_reserve() const;

  // Takes [place.position, + bytes) for the write `sequence`.
  void take(const Place& place, std::uint64_t bytes, std::uint64_t sequence);
  // Gives back the space of all writes below `sequence`.
  void free_below(std::uint64_t sequence);

  struct Oldest {
    std::uint64_t sequence = 0;
    std::uint32_t file = 0;
    std::uint64_t position = 0;
  };
  // The oldest write whose space was not given back; nullopt where there is none.
  std::optional<Oldest> oldest() const;

 private:
  struct Taken {
    std::uint32_t file = 0;
    std::uint64_t position = 0;
    std::uint64_t bytes = 0;
    std::uint64_t sequence = 0;
  };
  std::optional<Place> search(std::uint64_t least, std::uint64_t wanted,
                              std::uint64_t reserve) const;
  // Contiguous room from (file, position) on; `at_tail` when the oldest write ends it.
  std::uint64_t room_at(std::uint32_t file, std::uint64_t position, bool& at_tail) const;

  std::vector<std::uint64_t> file_bytes_;
  Fifo<Taken> taken_;
  std::uint64_t used_ = 0;
  std::uint32_t head_file_ = 0;
  std::uint64_t head_position_ = 0;  // 0: the file's data start
};

}  // namespace tidelog::log
