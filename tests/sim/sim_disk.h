// A disk in memory that keeps exactly what log/io/file_system.h promises, and loses the rest.
//
// What it does:
// - Contents: a write, truncate or allocate is un-synced until sync_data() (or a
// durable write of
//   SimIoQueue) covers it. A crash keeps any part of what is un-synced: per 512-byte sector, sizes
//   apart from contents, a torn sector with or without damage to its 4,096-byte block. Older
//   changes never cover newer ones.
// - Names: a create, rename or removal is un-synced until sync_directory() of every directory it
// touches.
// - Faults: fail_nth() makes the n-th operation of a kind fail; limit_space() makes the disk fill
// up. After a failed sync
//   the covered changes are given up: they read back, may be lost, and no later sync makes them
//   stable; when the directory is locked anew, reads tell which of them the device has.
// - Crash enumeration: every change, its completion and every sync is a numbered point. stop_at(n)
// cuts the power at the
//   n-th: what that point would have made stable is not, operations in flight never complete, later
//   calls fail with kStorageFailed. crash_image() is the disk found afterwards; kill_image() the
//   one that is found when the process ended there and the power did not.
//
// Misuse is a CHECK: overlapping writes in flight, truncating under one, unaligned
// direct I/O, writing through a File opened for reading.
//
// A typical enumeration:
//   for (std::uint64_t n = 1;; ++n) {
//     SimDisk disk; disk.stop_at(n); history(disk);       // opens, appends, runs to idle
//     for (const CrashPolicy& policy : disk.crash_policies(8, seed)) {
//       auto found = disk.crash_image(policy);            // re-open everything from *found and
//       check
//     }
//     if (!disk.powered_off()) break;                     // the history ended before point n
//   }
//
// Files hold the disk by pointer: close them first. Copies share pages until one writes. Thread:
// one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "log/io/file_system.h"
#include "tests/sim/crash_policy.h"
#include "tests/sim/sim_inode.h"
#include "tests/sim/sim_names.h"

namespace tidelog::sim {

// Kinds of operations, for faults and for the description of points.
enum class DiskOperation : std::uint8_t {
  kOpen,
  kRead,
  kWrite,
  kSync,
  kTruncate,
  kAllocate,
  kRename,
  kRemove,
  kSyncDirectory,
  kMakeDirectory,
  kList,
};
std::string_view to_string(DiskOperation operation);

enum class DiskFault : std::uint8_t {
  kIoError,     // kStorageFailed; a failed write leaves any of its sectors behind
  kFailedSync,  // of a durable write: all of it reads back, and its sync fails with kStorageFailed
  kNoSpace,     // kStorageFull; nothing happened
  kNoDescriptor,  // kOverloaded; nothing happened
  kShortWrite,  // the first attempt writes only a part, the next one the rest: two writes, not one
};

class SimDisk final : public log::io::FileSystem {
 public:
  explicit SimDisk(std::uint64_t seed = 1);
  ~SimDisk() override;
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // FileSystem. Paths are split at '/'; a leading one makes no difference.
  Result<std::unique_ptr<log::io::File>> open(const std::string& path,
                                              const log::io::OpenOptions& options) override;
  Result<bool> exists(const std::string& path) override;
  Result<> make_directories(const std::string& path) override;
  Result<std::vector<log::io::DirectoryEntry>> list(const std::string& path) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove_file(const std::string& path) override;
  Result<> remove_directory(const std::string& path) override;
  Result<> sync_directory(const std::string& path) override;
  Result<> sync_all(const std::string& path) override;
  Result<std::unique_ptr<log::io::DirectoryLock>> lock_directory(const std::string& path) override;
  Result<Space> space(const std::string& path) override;

  // --- Faults.
  // The n-th operation of this kind from now on (1 is the next) fails, once.
  void fail_nth(DiskOperation operation, std::uint64_t n, DiskFault fault);
  // Faults whose turn has not come.
  std::size_t faults_left() const { return faults_.size(); }
  // Space for all files together; what is written beyond fails with kStorageFull. Default: 1 TiB.
  void limit_space(std::uint64_t bytes) { space_bytes_ = bytes; }

  // Files that are open now; the most that were at once.
  std::size_t open_files() const { return open_files_; }
  std::size_t most_open_files() const { return most_open_files_; }

  // What was asked of it since it was made: operations of a kind; bytes that Files (not queues)
  // read where the path ends with `suffix`.
  std::uint64_t operations(DiskOperation operation) const;
  std::uint64_t bytes_read(std::string_view suffix) const;

  // --- Power.
  // Points passed so far.
  std::uint64_t points() const { return points_; }
  // Cuts the power at point n, counted from the disk's beginning. 0: never. REQUIRES: n > points()
  // or n == 0.
  void stop_at(std::uint64_t n);
  void power_off() { powered_off_ = true; }
  bool powered_off() const { return powered_off_; }
  // "point 17: write data/journal/0-1 at 4096, 8192 bytes, completes"; empty while the power is on.
  const std::string& stopped_by() const { return stopped_by_; }

  // Changes that a crash now may lose: the range of CrashPolicy::only() and all_but().
  std::size_t unsynced_changes() const;
  // nothing, everything, data only, names only, all blocks torn, each change alone, each change
  // alone missing, and `random_policies` random subsets that depend on `seed`. Single changes are
  // left out beyond the first 32.
  std::vector<CrashPolicy> crash_policies(std::size_t random_policies, std::uint64_t seed) const;
  // The disk as found when the power returns: no open files, no locks, no faults, nothing
  // un-synced, points from 0.
  std::unique_ptr<SimDisk> crash_image(const CrashPolicy& policy) const;
  // The disk as the next process finds it when only this one ended (kill -9): everything that
  // completed is there, and what was un-synced is still un-synced, so that a power cut may lose it
  // later. Of writes in flight what `policy` says. No open files, no locks, no faults, points
  // from 0.
  std::unique_ptr<SimDisk> kill_image(const CrashPolicy& policy) const;

  // --- The test's own hand: at once and stable, no points, no faults, whatever the power.
  // Every file, full paths without leading '/', sorted.
  std::vector<std::string> files() const;
  // REQUIRES for all below: the file is there (CHECKed).
  std::vector<std::byte> contents(const std::string& path) const;
  void overwrite(const std::string& path, std::uint64_t position, std::span<const std::byte> bytes);
  void flip_bit(const std::string& path, std::uint64_t bit);
  // Reads of the 4,096-byte block at `position` fail from now on, until it is written again.
  void spoil(const std::string& path, std::uint64_t position);
  void cut(const std::string& path, std::uint64_t size);
  // Makes or replaces a file, with its directories.
  void put(const std::string& path, std::span<const std::byte> bytes);
  void erase(const std::string& path);

 private:
  friend class SimFile;
  friend class SimIoQueue;
  friend class SimDirectoryLock;
  using InodePtr = std::shared_ptr<SimInode>;

  // What a point means for the operation that passes it.
  enum class Power : std::uint8_t { kOn, kOffNow, kOff };
  Power point(DiskOperation operation, const std::string& what);
  // The injected fault for this operation, if its turn has come.
  std::optional<DiskFault> take_fault(DiskOperation operation);
  // An error when the power is off or a fault was injected.
  Result<> enter(DiskOperation operation, const std::string& path);
  Result<> off(DiskOperation operation, const std::string& path) const;
  // The error that an injected fault shows as.
  Result<> injected(DiskFault fault, DiskOperation operation, const std::string& path) const;
  // A change that a crash may keep even when the power goes at its own point.
  template <typename Change>
  Result<> change(DiskOperation operation, const std::string& path, Change apply);

  // The inode a path leads to, or null. `parent` and `name` of a path whose parent exists.
  InodePtr find(const std::string& path) const;
  Result<SimName> locate(const std::string& path) const;
  InodePtr make_inode(bool directory);
  InodePtr must_find(const std::string& path) const;
  std::uint64_t used_pages() const;
  // What a former process was not told to be stable is not read from memory.
  void let_go_below(InodeId directory);
  bool has_space(const SimInode& inode, std::uint64_t position, std::uint64_t length) const;
  void forget_unreachable();

  SimRandom random_;
  SimNames names_;
  std::map<InodeId, InodePtr> inodes_;
  InodeId next_inode_ = kRootInode + 1;
  std::set<InodeId> locked_;
  std::uint64_t space_bytes_ = 1ULL << 40;
  std::size_t open_files_ = 0;
  std::size_t most_open_files_ = 0;

  struct Fault {
    DiskOperation operation;
    std::uint64_t countdown;
    DiskFault fault;
  };
  std::vector<Fault> faults_;
  std::map<DiskOperation, std::uint64_t> operations_;
  std::map<std::string, std::uint64_t> bytes_read_;  // by path
  std::uint64_t points_ = 0;
  std::uint64_t stop_at_ = 0;
  bool powered_off_ = false;
  std::string stopped_by_;
};

}  // namespace tidelog::sim
