#include "tests/sim/sim_inode.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace tidelog::sim {
namespace {

constexpr std::uint64_t kPhysicalBytes = 4096;

void write_garbage(PagedBytes& to, std::uint64_t sector, SimRandom& random) {
  std::array<std::byte, kSectorBytes> garbage;
  for (std::byte& byte : garbage) byte = static_cast<std::byte>(random.next());
  to.write(sector, garbage);
}

}  // namespace

std::size_t SimInode::read(std::uint64_t position, std::span<std::byte> into) const {
  if (position >= current_size_) return 0;
  const std::size_t length =
      static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), current_size_ - position));
  current_.read(position, into.first(length));
  return length;
}

std::size_t SimInode::read_racing(std::uint64_t position, std::span<std::byte> into,
                                  SimRandom& random) const {
  const std::size_t length = read(position, into);
  for (const Change& write : in_flight_) {
    for (std::uint64_t at = 0; at < write.length; at += kSectorBytes) {
      const std::uint64_t sector = write.position + at;
      if (sector < position || sector + kSectorBytes > position + length) continue;
      if (random.one_in(2)) continue;
      std::copy_n(write.bytes->begin() + static_cast<std::ptrdiff_t>(at), kSectorBytes,
                  into.begin() + static_cast<std::ptrdiff_t>(sector - position));
    }
  }
  return length;
}

void SimInode::apply(const Change& change, State to) {
  switch (change.kind) {
    case ChangeKind::kWrite:
      to.bytes.write(change.position, *change.bytes);
      break;
    case ChangeKind::kAllocate:
      to.bytes.reserve(change.position, change.length);
      break;
    case ChangeKind::kTruncate:
      break;
  }
  apply_size(change, to);
}

void SimInode::apply_size(const Change& change, State to) {
  if (change.kind == ChangeKind::kTruncate) {
    to.bytes.cut(std::min(to.size, change.size_after));
    to.size = change.size_after;
  } else {
    to.size = std::max(to.size, change.size_after);
  }
}

// Each sector by itself. A block that got only some of its sectors may have been damaged as a
// whole: the device's physical sector has 4,096 bytes.
void SimInode::apply_some(const Change& change, State to, SimRandom& random, bool damage) {
  const std::uint64_t end = change.position + change.length;
  for (std::uint64_t block = align_down(change.position, kPhysicalBytes); block < end;
       block += kPhysicalBytes) {
    bool some = false;
    bool all = true;
    for (std::uint64_t sector = std::max(block, change.position);
         sector < std::min(block + kPhysicalBytes, end); sector += kSectorBytes) {
      const std::uint64_t length = std::min<std::uint64_t>(kSectorBytes, end - sector);
      if (random.one_in(2)) {
        all = false;
        continue;
      }
      some = true;
      to.bytes.write(sector, std::span(*change.bytes).subspan(sector - change.position, length));
    }
    if (!damage || !some || all) continue;
    for (std::uint64_t sector = block; sector < block + kPhysicalBytes; sector += kSectorBytes) {
      if (random.one_in(2)) write_garbage(to.bytes, sector, random);
    }
  }
}

void SimInode::apply_torn(const Change& change, State to, SimRandom& random) {
  const std::uint64_t end = align_up(change.position + change.length, kPhysicalBytes);
  for (std::uint64_t sector = align_down(change.position, kPhysicalBytes); sector < end;
       sector += kSectorBytes) {
    write_garbage(to.bytes, sector, random);
  }
}

void SimInode::apply_choice(const Change& change, State to, CrashChooser& chooser) {
  const CrashChooser::Data choice = chooser.next_data();
  if (change.kind != ChangeKind::kWrite) {
    if (choice.bytes != CrashChooser::Part::kNone) apply(change, to);
    return;
  }
  const std::uint64_t size_before = to.size;
  if (choice.bytes == CrashChooser::Part::kAll) {
    apply(change, to);
  } else if (choice.bytes == CrashChooser::Part::kSome) {
    apply_some(change, to, chooser.random(), chooser.random().one_in(3));
  } else if (choice.bytes == CrashChooser::Part::kTorn) {
    apply_torn(change, to, chooser.random());
  }
  to.size = size_before;
  if (choice.size) apply_size(change, to);
}

bool SimInode::readable(std::uint64_t position, std::uint64_t length) const {
  const std::uint64_t end = std::min(position + length, current_size_);
  const auto first = unreadable_.lower_bound(position / kSpoiledBytes);
  return first == unreadable_.end() || *first * kSpoiledBytes >= end;
}

std::uint64_t SimInode::next_data(std::uint64_t position) const {
  std::uint64_t found = current_.next_written(position, current_size_);
  const auto spoiled = unreadable_.lower_bound(position / kSpoiledBytes);
  if (spoiled != unreadable_.end()) {
    found = std::min(found, std::max(position, *spoiled * kSpoiledBytes));
  }
  return found;
}

void SimInode::add(Change change) {
  if (change.kind == ChangeKind::kWrite) {
    const std::uint64_t end = align_up(change.position + change.length, kSpoiledBytes);
    unreadable_.erase(unreadable_.lower_bound(change.position / kSpoiledBytes),
                      unreadable_.lower_bound(end / kSpoiledBytes));
  }
  change.number = next_change_++;
  apply(change, State{current_, current_size_});
  // What lies behind the end of the file is gone for readers, whatever the sector's rest held.
  changes_.push_back(std::move(change));
  fold();
}

void SimInode::write(std::uint64_t position, std::span<const std::byte> bytes, bool stable) {
  if (bytes.empty()) return;
  const std::uint64_t end = position + bytes.size();
  check_not_in_flight(position, end);
  const std::uint64_t first = align_down(position, kSectorBytes);
  const std::uint64_t last = align_up(end, kSectorBytes);
  auto sectors = std::make_shared<std::vector<std::byte>>(last - first);
  current_.read(first, *sectors);
  std::ranges::copy(bytes, sectors->begin() + static_cast<std::ptrdiff_t>(position - first));
  add({.kind = ChangeKind::kWrite,
       .position = first,
       .length = last - first,
       .size_after = end,
       .bytes = std::move(sectors),
       .stable = stable});
}

void SimInode::truncate(std::uint64_t size, bool stable) {
  check_not_in_flight(size, std::numeric_limits<std::uint64_t>::max());
  add({.kind = ChangeKind::kTruncate, .size_after = size, .stable = stable});
}

void SimInode::allocate(std::uint64_t position, std::uint64_t length) {
  add({.kind = ChangeKind::kAllocate,
       .position = position,
       .length = length,
       .size_after = position + length});
}

void SimInode::check_not_in_flight(std::uint64_t position, std::uint64_t end) const {
  for (const Change& other : in_flight_) {
    TIDELOG_CHECK(end <= other.position || position >= other.position + other.length,
                  "the range overlaps a write in flight");
  }
}

std::uint64_t SimInode::begin_write(std::uint64_t position, std::vector<std::byte> bytes) {
  TIDELOG_CHECK(position % kSectorBytes == 0 && bytes.size() % kSectorBytes == 0,
                "writes in flight are made of whole sectors");
  const std::uint64_t end = position + bytes.size();
  check_not_in_flight(position, end);
  const std::uint64_t length = bytes.size();
  in_flight_.push_back({.kind = ChangeKind::kWrite,
                        .number = next_change_++,
                        .position = position,
                        .length = length,
                        .size_after = end,
                        .bytes = std::make_shared<const std::vector<std::byte>>(std::move(bytes))});
  return in_flight_.back().number;
}

std::vector<SimInode::Change>::const_iterator SimInode::find_in_flight(std::uint64_t write) const {
  const auto found = std::ranges::find(in_flight_, write, &Change::number);
  TIDELOG_CHECK(found != in_flight_.end(), "the write is in flight");
  return found;
}

std::span<const std::byte> SimInode::bytes_in_flight(std::uint64_t write) const {
  return *find_in_flight(write)->bytes;
}

void SimInode::complete_write(std::uint64_t write, bool durable) {
  const auto found = find_in_flight(write);
  Change change = *found;
  in_flight_.erase(found);
  change.stable = durable;
  add(std::move(change));
}

void SimInode::fail_write(std::uint64_t write, SimRandom& random) {
  const auto found = find_in_flight(write);
  Change change = *found;
  in_flight_.erase(found);
  change.given_up = true;
  change.number = next_change_++;
  const State current{current_, current_size_};
  apply_some(change, current, random, false);
  if (random.one_in(2)) apply_size(change, current);
  changes_.push_back(std::move(change));
}

void SimInode::sync(std::uint64_t up_to_change) {
  for (Change& change : changes_) {
    if (change.number <= up_to_change && !change.given_up) change.stable = true;
  }
  fold();
}

void SimInode::fail_sync(std::uint64_t up_to_change) {
  for (Change& change : changes_) {
    if (change.number <= up_to_change && !change.stable) change.given_up = true;
  }
}

void SimInode::let_go_of_given_up(SimRandom& random) {
  std::erase_if(changes_,
                [&random](const Change& change) { return change.given_up && random.one_in(2); });
  current_ = base_;
  current_size_ = base_size_;
  for (Change& change : changes_) {
    change.stable = change.stable || std::exchange(change.given_up, false);
    apply(change, State{current_, current_size_});
  }
  fold();
}

void SimInode::fold() {
  while (!changes_.empty() && changes_.front().stable) {
    apply(changes_.front(), State{base_, base_size_});
    changes_.pop_front();
  }
}

std::size_t SimInode::unsynced_changes() const {
  return in_flight_.size() + static_cast<std::size_t>(std::ranges::count_if(
                                 changes_, [](const Change& change) { return !change.stable; }));
}

std::shared_ptr<SimInode> SimInode::after_kill(CrashChooser& chooser) const {
  auto found = std::make_shared<SimInode>(*this);
  for (Change& write : std::exchange(found->in_flight_, {})) {
    const CrashChooser::Data choice = chooser.next_data();
    if (choice.bytes == CrashChooser::Part::kAll) {
      found->add(std::move(write));
    } else if (choice.bytes == CrashChooser::Part::kSome) {
      for (std::uint64_t at = 0; at < write.length; at += kSectorBytes) {
        if (chooser.random().one_in(2)) continue;
        found->write(write.position + at, std::span(*write.bytes).subspan(at, kSectorBytes));
      }
    }
  }
  return found;
}

std::shared_ptr<SimInode> SimInode::after_crash(CrashChooser& chooser) const {
  PagedBytes bytes = base_;
  std::uint64_t size = base_size_;
  const State state{bytes, size};
  for (const Change& change : changes_) {
    if (change.stable) {
      apply(change, state);
    } else {
      apply_choice(change, state, chooser);
    }
  }
  for (const Change& change : in_flight_) apply_choice(change, state, chooser);
  bytes.cut(size);
  auto found = std::make_shared<SimInode>(id_, std::move(bytes), size);
  found->unreadable_ = unreadable_;
  return found;
}

}  // namespace tidelog::sim
