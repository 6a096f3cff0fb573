// The metadata store of a single broker: all keys in memory, every transaction in a file of the
// data directory (metadata_log.h) before it is answered.
//
// Life of a transaction: commit() queues it; when no write is under way, all that is queued is
// evaluated in order against the keys and those of the group before it, written as one record and
// synced on a thread that may block; then the keys change, watchers hear of it and the callbacks
// run. Reads answer what is stable.
//
// A failed write is final: what was in it answers kUnknownOutcome, everything after it
// kStorageFailed; reads go on. No space is not final: those transactions answer kStorageFull and
// were not applied; some space is kept back for transactions that lead to more of it. Nor is a lack
// of file descriptors, while a new snapshot's name is to be made stable: kOverloaded.
//
// Leases belong to this process: keys of leases that an earlier one held are deleted by open().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/executor.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "replication/metadata_store.h"

namespace tidelog::replication {

struct LocalStoreOptions {
  std::string path;  // such as "<data>/metadata"; made where it is missing
  // After this long without a transaction a confirmation proves that the last one was stable.
  std::chrono::milliseconds confirm_after{50};
  // A snapshot is due when the log has this size, and twice that of the last snapshot.
  std::uint64_t snapshot_log_bytes_min = 1 << 20;
  // Names files; never 0, never the same twice. Null: random_id().
  std::function<std::uint64_t()> random_id{};
};

class LocalStore final : public MetadataStore {
 public:
  // Whether open() would find a store at `path`. Changes nothing; blocks. Fails with
  // kStorageFailed.
  static Result<bool> exists(log::io::FileSystem& files, const std::string& path);

  // Opens and recovers; blocks. `files`, `executor` and `blocking` outlive the store and its last
  // write. Fails with kDirectoryInUse, kCorruptData (names file and position: nothing may start on
  // it), kStorageFailed, kStorageFull.
  static Result<std::unique_ptr<LocalStore>> open(log::io::FileSystem& files, Executor& executor,
                                                  BlockingExecutor& blocking,
                                                  LocalStoreOptions options);

  // Callbacks that did not run yet never do. A write under way ends by itself; only close() waits
  // for it, and only after that another store may open the directory. Thread: the executor's, or
  // any once the executor has ended.
  ~LocalStore() override;

  // True when open() found no store.
  bool created() const { return created_; }
  // One sentence when open() dropped a torn transaction, else "".
  const std::string& recovery_note() const { return recovery_note_; }

  // Ends what was queued, confirms it and unlocks the directory. Further transactions fail with
  // kCancelled. Call once.
  void close(Callback<void> done);

  void get(std::string key, Callback<std::optional<KeyValue>> done) override;
  void list(std::string prefix, Revision mod_revision_min, Callback<Listing> done) override;
  void commit(Transaction transaction, Callback<TransactionResult> done) override;
  void grant_lease(std::chrono::milliseconds ttl, Callback<LeaseId> done) override;
  void renew_lease(LeaseId lease, Callback<void> done) override;
  void revoke_lease(LeaseId lease, Callback<void> done) override;
  WatchId watch(std::string prefix, Revision from,
                std::function<void(const std::vector<WatchEvent>&)> changed) override;
  void cancel_watch(WatchId watch) override;

 private:
  class State;
  explicit LocalStore(Executor& executor, std::shared_ptr<State> state)
      : executor_(executor), state_(std::move(state)) {}
  // Runs `work` with the state on the executor, unless the store is gone by then.
  template <typename Work>
  void on_executor(Work work);

  Executor& executor_;
  std::shared_ptr<State> state_;
  std::atomic<WatchId> next_watch_{1};
  bool created_ = false;
  std::string recovery_note_;
};

}  // namespace tidelog::replication
