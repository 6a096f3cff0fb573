// The files of a local metadata store: a snapshot of all keys, and a log of the transactions since.
//
// REPLICATION.md has every byte. One record of the log holds one group of transactions and begins
// on a block of its own, so that a torn write never touches what was stable before. A record that
// does not verify at the very end of the log is a write that was under way when the machine
// stopped: it was never acknowledged, and is dropped. A sound record behind it proves that it was
// stable once: then the file is damaged, and nothing is read from it. The confirmation that follows
// a quiet moment is such proof for the last transaction.
//
// Thread: one call at a time; every call blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "replication/metadata_format.h"
#include "replication/metadata_store.h"

namespace tidelog::replication {

class MetadataLog {
 public:
  struct Contents {
    bool created = false;  // the directory held no store before
    Revision revision = 0;
    StoredEntries entries;
    std::uint64_t dropped_bytes = 0;  // of a torn record at the end
  };

  struct Options {
    std::string path;
    // Names files; never 0, never the same twice.
    std::function<std::uint64_t()> random_id{};
    // A snapshot is due when the log has this size, and twice that of the last snapshot.
    std::uint64_t snapshot_log_bytes_min = 1 << 20;
  };

  // Whether a snapshot is at `path`, without which there is no store.
  static Result<bool> exists(log::io::FileSystem& files, const std::string& path);

  // Opens the store in the directory `options.path`, making it where nothing is there; locks the
  // directory while it lives. What an earlier process left without proof that it was stable is
  // written anew, into a snapshot, before this returns: after a failed sync the file may read well
  // and still be lost. `files` outlives the log. Fails with kDirectoryInUse, kCorruptData (names
  // file and position), kStorageFailed, kStorageFull.
  static Result<std::unique_ptr<MetadataLog>> open(log::io::FileSystem& files, Options options,
                                                   Contents& contents);

  // Space that is reserved behind the last record, for records that must be written on a full disk.
  static constexpr std::uint64_t kReserveBytes = 256 << 10;

  // Writes one record. Without `from_reserve` it fails when the reserve would not be whole behind
  // it. Durability: on stable storage when it succeeds.
  // Fails with kStorageFull and, where a new snapshot's name is not stable yet for want of a file
  // descriptor, kOverloaded: nothing is left of it, the log goes on; with anything else the outcome
  // is unknown and the log is never to be written again.
  Result<> append(std::span<const LoggedTransaction> group, bool from_reserve = false);
  // Writes a record without transactions, which proves that everything before it was stable.
  Result<> confirm() { return append({}, /*from_reserve=*/true); }

  // True when the log has grown enough for a snapshot to pay.
  bool wants_snapshot() const;
  // Replaces snapshot and log by a snapshot of `entries` and an empty log. Fails as append(), and
  // with kOverloaded for want of a file descriptor: then nothing has changed, or the new snapshot's
  // name is not stable yet, which the next append() sees to first.
  Result<> write_snapshot(Revision revision, const StoredEntries& entries);

  std::uint64_t log_bytes() const { return end_; }

 private:
  MetadataLog(log::io::FileSystem& files, Options options)
      : files_(files), path_(options.path), options_(std::move(options)) {}

  Result<> load(Contents& contents);
  Result<> make_new();
  Result<> load_snapshot(std::span<const std::byte> bytes, Contents& contents);
  Result<> load_log(Contents& contents);
  Result<> check_nothing_behind(std::span<const std::byte> bytes, std::size_t position);
  Result<> load_record(std::span<const std::byte> payload, std::uint32_t transactions,
                       std::size_t position, Contents& contents);
  Result<> remove_leftovers();
  // Makes the name of the new snapshot stable, if it is not: a crash could still bring back the old
  // one, and its log, so that neither log may be written to before. Fails with kOverloaded,
  // kStorageFailed (final).
  Result<> settle_name();
  // Reserves what is missing behind `bytes` more bytes of records.
  Result<> reserve(std::size_t bytes);
  std::string log_path(std::uint64_t id) const;

  log::io::FileSystem& files_;
  const std::string path_;
  const Options options_;
  std::unique_ptr<log::io::DirectoryLock> lock_;
  std::unique_ptr<log::io::File> log_;
  std::uint64_t log_id_ = 0;
  std::uint64_t sequence_ = 0;  // of the last record
  std::uint64_t end_ = 0;       // where the next record goes
  std::uint64_t reserved_ = 0;  // the file has space up to here
  bool proven_ = false;         // the last record is a confirmation
  Revision revision_ = 0;       // after it
  std::uint64_t snapshot_bytes_ = 0;
  // The snapshot's name is not stable: the log of the one before, 0 if there was none.
  std::optional<std::uint64_t> unsettled_former_log_;
};

}  // namespace tidelog::replication
