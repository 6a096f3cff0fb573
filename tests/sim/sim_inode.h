// One simulated file: what reads see, what is stable, and every change between the two.
//
// `current` is what reads see: all completed changes. The stable state is `base` with the stable
// changes of the list on top; a change that is not stable may survive a crash or not, in whole or
// sector by sector. Changes are replayed in the order in which they completed, so that an older one
// never covers a newer one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "tests/sim/crash_policy.h"
#include "tests/sim/paged_bytes.h"

namespace tidelog::sim {

inline constexpr std::size_t kSectorBytes = 512;

class SimInode {
 public:
  explicit SimInode(std::uint64_t id, bool directory) : id_(id), directory_(directory) {}
  // A file with stable content.
  SimInode(std::uint64_t id, PagedBytes bytes, std::uint64_t size)
      : id_(id),
        directory_(false),
        current_(bytes),
        current_size_(size),
        base_(std::move(bytes)),
        base_size_(size) {}

  std::uint64_t id() const { return id_; }
  bool is_directory() const { return directory_; }
  std::uint64_t size() const { return current_size_; }
  std::uint64_t pages() const { return current_.pages(); }
  std::uint64_t missing_pages(std::uint64_t position, std::uint64_t length) const {
    return current_.missing_pages(position, length);
  }

  // Bytes read; fewer than asked for only at the end.
  std::size_t read(std::uint64_t position, std::span<std::byte> into) const;
  // The same while writes may be in flight there: each of their sectors is old or new.
  std::size_t read_racing(std::uint64_t position, std::span<std::byte> into,
                          SimRandom& random) const;

  // The first byte at or behind `position` of a page that was written, or that no read gets; the
  // size of the file, at least, where there is none.
  std::uint64_t next_data(std::uint64_t position) const;

  // Blocks that no read gets, until they are written again.
  void spoil(std::uint64_t position) { unreadable_.insert(position / kSpoiledBytes); }
  bool readable(std::uint64_t position, std::uint64_t length) const;

  // Changes complete at once. `stable` ones need no sync (a test's hand, not the program's).
  void write(std::uint64_t position, std::span<const std::byte> bytes, bool stable = false);
  void truncate(std::uint64_t size, bool stable = false);
  void allocate(std::uint64_t position, std::uint64_t length);

  // Writes in flight: on the disk in any part until they complete.
  // REQUIRES: sector-aligned; overlaps no write in flight (CHECKed).
  std::uint64_t begin_write(std::uint64_t position, std::vector<std::byte> bytes);
  std::span<const std::byte> bytes_in_flight(std::uint64_t write) const;
  void complete_write(std::uint64_t write, bool durable);
  // Some sectors arrived, and no sync will ever say which.
  void fail_write(std::uint64_t write, SimRandom& random);
  // Nothing arrived.
  void drop_write(std::uint64_t write) { in_flight_.erase(find_in_flight(write)); }
  bool in_flight() const { return !in_flight_.empty(); }

  // Number of the newest completed change: what a sync that starts now covers.
  std::uint64_t newest_change() const { return next_change_ - 1; }
  void sync(std::uint64_t up_to_change);
  // A sync failed: the covered changes count as clean, though they may be lost, and later syncs
  // skip them.
  void fail_sync(std::uint64_t up_to_change);
  // Reads tell from now on what the device has of what was given up: each change or nothing of it.
  void let_go_of_given_up(SimRandom& random);

  // Changes and writes in flight that a crash may lose.
  std::size_t unsynced_changes() const;
  // As found after a crash: everything that is there is stable.
  std::shared_ptr<SimInode> after_crash(CrashChooser& chooser) const;
  // As found after the process was killed: what completed is there, still un-synced; of writes in
  // flight what `chooser` says.
  std::shared_ptr<SimInode> after_kill(CrashChooser& chooser) const;

 private:
  enum class ChangeKind : std::uint8_t { kWrite, kAllocate, kTruncate };
  struct Change {
    ChangeKind kind;
    std::uint64_t number = 0;
    std::uint64_t position = 0;
    std::uint64_t length = 0;
    std::uint64_t size_after = 0;  // kTruncate: the size; else the least size
    std::shared_ptr<const std::vector<std::byte>> bytes = nullptr;  // kWrite: whole sectors
    bool stable = false;
    bool given_up = false;  // no sync makes it stable any more
  };
  struct State {
    PagedBytes& bytes;
    std::uint64_t& size;
  };

  static void apply(const Change& change, State to);
  static void apply_size(const Change& change, State to);
  static void apply_some(const Change& change, State to, SimRandom& random, bool damage);
  static void apply_torn(const Change& change, State to, SimRandom& random);
  static void apply_choice(const Change& change, State to, CrashChooser& chooser);
  void add(Change change);
  void check_not_in_flight(std::uint64_t position, std::uint64_t end) const;
  std::vector<Change>::const_iterator find_in_flight(std::uint64_t write) const;
  // Moves stable changes at the front of the list into the base.
  void fold();

  static constexpr std::uint64_t kSpoiledBytes = 4096;

  const std::uint64_t id_;
  const bool directory_;
  std::set<std::uint64_t> unreadable_;
  PagedBytes current_;
  std::uint64_t current_size_ = 0;
  PagedBytes base_;
  std::uint64_t base_size_ = 0;
  std::deque<Change> changes_;
  std::vector<Change> in_flight_;
  std::uint64_t next_change_ = 1;
};

}  // namespace tidelog::sim
