#include "log/journal_ring.h"

#include <algorithm>

#include "base/check.h"
#include "log/journal_format.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {
constexpr std::uint64_t kReserve = 2 * io::kBlockBytes;
}

std::uint64_t JournalRing::bytes() const {
  std::uint64_t all = 0;
  for (const std::uint64_t file : file_bytes_) all += file;
  return all;
}

std::uint64_t JournalRing::bytes_below(std::uint64_t sequence) const {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < taken_.size() && taken_[i].sequence < sequence; ++i) {
    all += taken_[i].bytes;
  }
  return all;
}

std::uint64_t JournalRing::largest_write() const {
  const std::uint64_t largest = *std::ranges::max_element(file_bytes_);
  return largest - kJournalDataStart - kReserve;
}

std::uint64_t JournalRing::room_at(std::uint32_t file, std::uint64_t position,
                                   bool& at_tail) const {
  at_tail = !taken_.empty() && taken_.front().file == file && taken_.front().position >= position;
  return (at_tail ? taken_.front().position : file_bytes_[file]) - position;
}

std::optional<JournalRing::Place> JournalRing::search(std::uint64_t least, std::uint64_t wanted,
                                                      std::uint64_t reserve) const {
  std::optional<Place> best;
  std::uint32_t file = head_file_;
  std::uint64_t position = std::max(head_position_, kJournalDataStart);
  // One step more than there are files: the head's file has a part before the head too.
  for (std::uint32_t step = 0; step <= files(); ++step) {
    bool at_tail = false;
    std::uint64_t room = room_at(file, position, at_tail);
    const std::uint32_t next = (file + 1) % files();
    std::uint64_t kept = 0;
    if (at_tail) {
      kept = reserve;
    } else if (reserve > 0) {
      bool next_at_tail = false;
      std::uint64_t there = room_at(next, kJournalDataStart, next_at_tail);
      // An empty ring of one file: what is left of it lies before the write.
      if (next == file && !next_at_tail) there = position - kJournalDataStart;
      if (there < reserve) kept = reserve;
    }
    room -= std::min(room, kept);
    if (room >= wanted) return Place{file, position, room};
    if (room >= least && (!best || room > best->room)) best = Place{file, position, room};
    if (at_tail) break;
    file = next;
    position = kJournalDataStart;
  }
  return best;
}

std::optional<JournalRing::Place> JournalRing::find(std::uint64_t least,
                                                    std::uint64_t wanted) const {
  return search(least, wanted, broken(Rule::kReserveForTheTail) ? 0 : kReserve);
}

std::optional<JournalRing::Place> JournalRing::find_reserve() const {
  return search(io::kBlockBytes, io::kBlockBytes, 0);
}

void JournalRing::take(const Place& place, std::uint64_t bytes, std::uint64_t sequence) {
  TIDELOG_CHECK(bytes > 0 && bytes <= file_bytes_[place.file] - place.position,
                "a journal write lies in one file");
  taken_.push_back({place.file, place.position, bytes, sequence});
  used_ += bytes;
  head_file_ = place.file;
  head_position_ = place.position + bytes;
}

void JournalRing::free_below(std::uint64_t sequence) {
  while (!taken_.empty() && taken_.front().sequence < sequence) {
    used_ -= taken_.front().bytes;
    taken_.pop_front();
  }
}

std::optional<JournalRing::Oldest> JournalRing::oldest() const {
  if (taken_.empty()) return std::nullopt;
  const Taken& first = taken_.front();
  return Oldest{first.sequence, first.file, first.position};
}

}  // namespace tidelog::log
