// The inside of LocalStore: keys, leases, watches, and the transactions on their way to the file.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replication/local_store.h"
#include "replication/metadata_log.h"

namespace tidelog::replication {

// Everything but the watches is touched on the executor only; `log_` also by the one write that is
// under way, which reads `entries_` too: they change only while none is.
class LocalStore::State : public std::enable_shared_from_this<LocalStore::State> {
 public:
  State(Executor& executor, BlockingExecutor& blocking, std::unique_ptr<MetadataLog> log,
        MetadataLog::Contents contents, std::chrono::milliseconds confirm_after)
      : executor_(executor),
        blocking_(blocking),
        log_(std::move(log)),
        entries_(std::move(contents.entries)),
        revision_(contents.revision),
        confirm_after_(confirm_after) {}

  bool gone() const { return gone_; }
  void leave() { gone_ = true; }

  std::optional<KeyValue> get(const std::string& key) const;
  Listing list(const std::string& prefix, Revision mod_revision_min) const;
  void commit(Transaction transaction, Callback<TransactionResult> done);
  Result<LeaseId> grant_lease(std::chrono::milliseconds ttl);
  Result<> renew_lease(LeaseId lease);
  void end_lease(LeaseId lease, Callback<void> done);
  void close(Callback<void> done);

  void add_watch(WatchId id, std::string prefix, Revision from,
                 std::function<void(const std::vector<WatchEvent>&)> changed);
  void tell_present_state(WatchId id);
  void cancel_watch(WatchId id);

 private:
  struct Lease {
    std::chrono::milliseconds ttl;
    TimerId timer = 0;
  };
  struct Watch {
    std::string prefix;
    Revision from;
    std::function<void(const std::vector<WatchEvent>&)> changed;
  };
  // A transaction that waits, or the end of a lease, whose keys are known only when its turn comes.
  struct Queued {
    Transaction transaction;
    LeaseId ended_lease = 0;
    Callback<TransactionResult> done;

    bool frees_space() const { return transaction.frees_space || ended_lease != 0; }
  };
  struct Answer {
    Callback<TransactionResult> done;
    Result<TransactionResult> result;
    bool logged = false;  // its operations are in the record
  };
  // What is written together, and the keys as they will be. All of it frees space, or none.
  struct Group {
    std::vector<LoggedTransaction> logged;
    std::vector<Answer> answers;
    std::map<std::string, std::optional<StoredEntry>, std::less<>> overlay;
    Revision revision = 0;
    std::size_t bytes = 0;
    bool frees_space = false;
  };

  void pump();
  Group take_group();
  void evaluate(Queued queued, Group& group) const;
  const StoredEntry* find(const Group& group, const std::string& key) const;
  std::vector<Operation> effective_operations(Queued& queued, const Group& group) const;
  void write(Group group);
  void written(Group group, Result<> result);
  void refuse(Group& group, const Error& error) const;
  void take_snapshot();
  void confirm_later();
  void confirm();
  void finish_close();
  void tell_watches(const std::vector<LoggedTransaction>& transactions);
  void start_lease_timer(LeaseId id, Lease& lease);
  // Runs `job` where it may block, then `then` with its result here.
  void run_blocking(std::move_only_function<Result<>(State&)> job,
                    std::move_only_function<void(State&, Result<>)> then);
  Error failed() const {
    return failure_->with_context("the metadata store stopped after a failed write");
  }

  Executor& executor_;
  BlockingExecutor& blocking_;
  std::unique_ptr<MetadataLog> log_;
  StoredEntries entries_;  // what is stable
  Revision revision_;
  const std::chrono::milliseconds confirm_after_;

  bool gone_ = false;
  std::deque<Queued> queue_;
  bool writing_ = false;
  std::optional<Error> failure_;
  bool unconfirmed_ = false;
  std::uint64_t quiet_ = 0;  // changes with every write: an older timer is void
  std::uint64_t snapshot_not_before_bytes_ = 0;
  bool closing_ = false;
  Callback<void> close_done_;
  std::map<LeaseId, Lease> leases_;
  LeaseId next_lease_ = 1;

  std::mutex watches_mutex_;
  std::map<WatchId, std::shared_ptr<Watch>> watches_;  // guarded by watches_mutex_
};

}  // namespace tidelog::replication
