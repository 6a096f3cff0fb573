// All logs of one data directory, across its shards: opening, recovery, creation, deletion, clean
// stop.
//
// open() takes the directory (creating it where allowed), locks it, recovers every log as
// STORAGE.md says, goes on with the journals or empties them, and hands each log to the shard it
// belongs to. Nothing on disk depends on the shard count but the names of the journals.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/io/io_queue.h"
#include "log/log_options.h"
#include "log/partition_log.h"

namespace tidelog::log {

// What a shard lends to its logs. All outlive the LogStore.
struct ShardEnvironment {
  Executor* executor = nullptr;
  io::IoQueue* queue = nullptr;
  BlockingExecutor* blocking = nullptr;
  // For the removal of files, which may take long, so that nothing else waits for it; null:
  // `blocking`.
  BlockingExecutor* removal = nullptr;
  BufferPool* buffers = nullptr;
};

// The identities in `meta`.
struct DirectoryIdentity {
  std::string cluster_id;  // 32 hex digits
  std::int32_t broker_id = 0;
  std::string directory_id;  // 32 hex digits, random
};

// How far a start is.
struct RecoveryProgress {
  std::uint64_t journals = 0;
  std::uint64_t journals_read = 0;
  std::uint64_t logs = 0;
  std::uint64_t logs_examined = 0;  // what is on the disk of them is known
  std::uint64_t logs_recovered = 0;
};

struct LogStoreOptions {
  std::string path;
  // For a new directory; an existing one must agree in broker_id (kInvalidArgument names both).
  std::int32_t broker_id = 0;
  std::string cluster_id;  // empty: random for a new directory, whatever is there for an old one
  ShardLogOptions shard;
  // Called by open(), by its thread, with every step of the recovery; may be empty.
  std::function<void(const RecoveryProgress&)> on_recovery_progress;
};

// What recovery found, for the log and for tests.
struct RecoverySummary {
  bool clean = false;    // the last stop was clean: what indexes know was not scanned
  bool created = false;  // the directory is new
  std::uint64_t logs = 0;
  std::uint64_t journal_entries_replayed = 0;
  std::uint64_t torn_logs_truncated = 0;
  std::vector<std::string> problems;  // one sentence each: what is lossy or corrupt, and where
};

// The logs of one shard. Thread: the shard's, except where said.
class ShardLogs {
 public:
  virtual ~ShardLogs() = default;

  // Null when this shard has no such log.
  virtual PartitionLog* find(const TopicPartition& id) = 0;
  virtual std::vector<PartitionLog*> all() = 0;

  using CreateCallback = std::move_only_function<void(Result<PartitionLog*>)>;
  // Makes an empty log, entered in the catalog and stable when `done` runs. An existing one is
  // returned as it is. Many creations started in one turn share the catalog's sync.
  virtual void create(const TopicPartition& id, const PartitionLogSettings& settings,
                      CreateCallback done) = 0;

  using DoneCallback = std::move_only_function<void(Result<>)>;
  // Takes the log out of the catalog, durably, then removes its files on a file thread. The
  // PartitionLog is gone when `done` runs; reads in flight ended with kUnknownPartition. Without
  // space it waits until there is some; close() ends the wait with kStorageFull, and the removal of
  // many files with kDraining: the next start removes the rest.
  virtual void remove(const TopicPartition& id, DoneCallback done) = 0;

  // Called by the shard at the end of each loop turn: starts journal writes for what was staged,
  // then submits.
  virtual void end_of_turn() = 0;

  // Ends appends and makes everything stable, so that the clean-stop marker may be written. What a
  // log has in the journal alone stays there, up to destage_bytes of it: the next start goes on
  // with the journal as it is, so that stop and start take the same time whatever was written.
  // On a full disk it stays there whatever its size, and what is not durable yet is given up: its
  // listeners hear no more. Fails with kStorageFailed only.
  virtual void close(DoneCallback done) = 0;

  struct Counters {
    std::uint64_t journal_writes = 0;
    std::uint64_t journal_bytes = 0;
    std::uint64_t segment_writes = 0;
    std::uint64_t segment_bytes = 0;
    std::uint64_t tail_cache_bytes = 0;
    std::uint64_t tail_reads = 0;
    std::uint64_t cold_reads = 0;
    std::uint64_t appended_batches = 0;
    std::uint64_t appended_bytes = 0;
    std::uint64_t open_segments = 0;  // files held open
    std::uint64_t free_bytes = 0;     // of the file system, when it was last asked
    bool short_of_space = false;      // appends are refused with kStorageFull
    bool failed = false;              // the directory failed: see LogStore::failure()
    std::uint64_t appended_records = 0;
    std::uint64_t undurable_bytes = 0;  // appended, not yet on stable storage
    std::uint64_t damaged_ranges = 0;   // PartitionLog::damaged_ranges(), of all logs
    std::uint64_t lossy_logs = 0;       // of which acknowledged records are missing
  };
  virtual Counters counters() const = 0;
};

class LogStore {
 public:
  virtual ~LogStore() = default;

  // Whether `path` holds logs, or held some: without them nothing tells which topics' they are.
  // Changes nothing; blocks. Fails with kStorageFailed.
  static Result<bool> exists(io::FileSystem& files, const std::string& path);

  // Opens and recovers; blocks. `shard_of` says which shard (0 to shards.size() - 1) a log belongs
  // to; `settings_of` gives a recovered log its topic's settings. Shards may use their ShardLogs
  // when this returned. Fails with kDirectoryInUse, kCorruptData (meta or catalog damaged in both
  // slots, or missing beside data; the message names the command that helps), kStorageFailed,
  // kStorageFull, kInvalidArgument.
  static Result<std::unique_ptr<LogStore>> open(
      io::FileSystem& files, const LogStoreOptions& options, std::vector<ShardEnvironment> shards,
      std::function<std::size_t(const TopicPartition&)> shard_of,
      std::function<PartitionLogSettings(const TopicPartition&)> settings_of);

  virtual const DirectoryIdentity& identity() const = 0;
  virtual const RecoverySummary& recovery() const = 0;
  virtual ShardLogs& shard(std::size_t index) = 0;
  // The write or sync that failed, naming file and reason: from then on no shard acknowledges
  // anything until the broker starts again. Nullopt: none. Thread: any.
  virtual std::optional<Error> failure() const = 0;

  // True after every restart, also after a clean stop: replicas take a new leader epoch, so that no
  // two lives of a leader share one. Only a new directory has nobody to tell apart.
  bool needs_new_epochs() const { return !recovery().created; }

  // Writes the clean-stop marker and syncs. The directory is locked until this and the shards'
  // queues are gone. REQUIRES: every shard's close() succeeded and its
  // thread ended or idles. Blocks. Without this call the directory is left as after a crash; so it
  // is where a full disk kept from it what the marker would say, or the marker itself. Fails with
  // kStorageFailed.
  virtual Result<> finish_clean_stop() = 0;
};

}  // namespace tidelog::log
