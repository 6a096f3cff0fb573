// The seam for storage, blocking half: files, directories and what makes them durable. Used while
// starting and on file threads, never on a shard (io_queue.h is the half that shards use).
//
// Implementations: the machine's (system_file_system.h) and the simulated disk of the tests, which
// loses everything that this interface does not promise:
// - a write is stable after sync_data(), sync_all() (or a durable write of the queue) has returned;
// - a new, renamed or removed name is stable after sync_directory() of its directory, or
//   sync_all();
// - a new size (truncate, or a write that grew the file) is stable after sync_data() or sync_all();
// - overlapping writes in flight are an error of the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace tidelog::log::io {

// Unit of all direct I/O: positions, lengths and addresses are multiples of it.
inline constexpr std::size_t kBlockBytes = 4096;

enum class OpenMode : std::uint8_t {
  kRead,    // must exist
  kWrite,   // must exist; read and write
  kCreate,  // must not exist; read and write
};

struct OpenOptions {
  OpenMode mode = OpenMode::kRead;
  // Unbuffered (O_DIRECT) where the probe found that it works: log and journal files. Small files
  // that are read and replaced whole (meta, catalog, checkpoint) leave it off.
  bool direct = false;
};

// An open file. Closed when destroyed; operations in flight on an IoQueue must have ended.
class File {
 public:
  virtual ~File() = default;

  virtual const std::string& path() const = 0;

  // Reads up to into.size() bytes; fewer only at the end of the file.
  virtual Result<std::size_t> read_at(FilePosition position, std::span<std::byte> into) = 0;
  // Writes all bytes, or fails. Not stable before sync_data().
  // Fails with kStorageFull (no space), kStorageFailed.
  virtual Result<> write_at(FilePosition position, std::span<const std::byte> bytes) = 0;
  // fdatasync: bytes written and the size are stable. Fails with kStorageFailed: final for the
  // directory.
  virtual Result<> sync_data() = 0;
  virtual Result<std::uint64_t> size() = 0;
  // Cuts or extends (with zeros). Stable after sync_data().
  virtual Result<> truncate(std::uint64_t size) = 0;
  // Reserves space [position, position + length) and extends the size; reads give zeros until
  // written. Fails with kStorageFull.
  virtual Result<> allocate(FilePosition position, std::uint64_t length) = 0;
  // Where something may have been written, at or behind `position`: bytes up to there read as zeros
  // and need no reading. `position` itself where nobody knows; the size of the file, at least,
  // where nothing was.
  virtual Result<FilePosition> next_data(FilePosition position) = 0;
};

// Holds a directory for one process while it lives.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
  // -1: none.
  virtual int fd() const { return -1; }
};

struct DirectoryEntry {
  std::string name;
  bool is_directory = false;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Fails with kNotFound, kAlreadyExists (kCreate), kStorageFull, kStorageFailed; messages name the
  // path.
  virtual Result<std::unique_ptr<File>> open(const std::string& path,
                                             const OpenOptions& options) = 0;
  virtual Result<bool> exists(const std::string& path) = 0;
  // Creates missing parents too. Names are stable after sync_directory() of each parent.
  virtual Result<> make_directories(const std::string& path) = 0;
  // Sorted by name; "." and ".." left out.
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& path) = 0;
  // Replaces `to` if it exists, as one step.
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<> remove_file(const std::string& path) = 0;
  // REQUIRES: empty.
  virtual Result<> remove_directory(const std::string& path) = 0;
  // Fails with kUnsupportedFeature (this process may not open it, or its file system syncs no
  // directories), kNotFound, kStorageFailed.
  virtual Result<> sync_directory(const std::string& path) = 0;
  // sync_data() of every file and sync_directory() of every directory of the file system that
  // `path`, a directory, is on: one wait instead of thousands. Others who write there wait too.
  // Fails with kStorageFailed, as far as the kernel tells (Linux does since 5.8).
  virtual Result<> sync_all(const std::string& path) = 0;
  // Waits for what a killed process has handed to the kernel (IoQueue::hold); what a failed sync
  // left in memory alone is read no more, but what the device has instead. Fails with
  // kDirectoryInUse; the message names the pid of the process that holds it.
  virtual Result<std::unique_ptr<DirectoryLock>> lock_directory(const std::string& path) = 0;

  struct Space {
    std::uint64_t free_bytes = 0;  // for this process
    std::uint64_t total_bytes = 0;
  };
  virtual Result<Space> space(const std::string& path) = 0;
};

}  // namespace tidelog::log::io
