// A metadata store in memory, shared by the brokers of a simulated cluster, with the faults of a
// real one.
//
// SimMetadata is the service; each broker reaches it through a SimMetadataStore of its own, whose
// answers come back on that broker's executor. One thread runs everything. Nothing here shares code
// with LocalStore, so that the conformance suite compares two implementations.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "replication/metadata_store.h"

namespace tidelog::sim {

class SimMetadata {
 public:
  // Leases end by `executor`'s time. It outlives the service.
  explicit SimMetadata(Executor& executor) : executor_(executor) {}
  SimMetadata(const SimMetadata&) = delete;
  SimMetadata& operator=(const SimMetadata&) = delete;

  replication::Revision revision() const { return revision_; }
  // Ends a lease before its time, as some versions of real stores do.
  void end_lease(replication::LeaseId lease);

 private:
  friend class SimMetadataStore;
  struct Lease {
    std::chrono::milliseconds ttl;
    TimerId timer;
  };
  using Listener = std::function<void(const std::vector<replication::WatchEvent>&)>;
  struct Entry {
    replication::KeyValue data;
    replication::LeaseId lease = 0;
  };

  Result<replication::TransactionResult> commit(const replication::Transaction& transaction);
  Result<replication::LeaseId> grant(std::chrono::milliseconds ttl);
  Result<> renew(replication::LeaseId lease);
  Result<> revoke(replication::LeaseId lease);
  void arm(replication::LeaseId lease);
  void tell(const std::vector<replication::WatchEvent>& events);

  Executor& executor_;
  std::map<std::string, Entry> entries_;
  replication::Revision revision_ = 0;
  std::map<replication::LeaseId, Lease> leases_;
  replication::LeaseId next_lease_ = 1;
  std::map<std::uint64_t, Listener> listeners_;
  std::uint64_t next_listener_ = 1;
};

class SimMetadataStore final : public replication::MetadataStore {
 public:
  // Service and executor outlive the store.
  SimMetadataStore(SimMetadata& service, Executor& executor)
      : service_(service), executor_(executor), self_(std::make_shared<SimMetadataStore*>(this)) {}
  ~SimMetadataStore() override;

  // The next commit answers kUnknownOutcome, whether it was applied or not.
  void lose_next_answer(bool applied) { lost_answer_ = applied; }
  // After `after` further commits every one fails with `code`, until called with nullopt.
  void fail_commits(std::optional<ErrorCode> code, std::uint64_t after = 0) {
    commit_error_ = code;
    commits_before_error_ = after;
  }
  // Until called with false, changes are not told to watchers, and never will be.
  void drop_watch_events(bool drop) { drop_events_ = drop; }

  void get(std::string key, Callback<std::optional<replication::KeyValue>> done) override;
  void list(std::string prefix, replication::Revision mod_revision_min,
            Callback<Listing> done) override;
  void commit(replication::Transaction transaction,
              Callback<replication::TransactionResult> done) override;
  void grant_lease(std::chrono::milliseconds ttl, Callback<replication::LeaseId> done) override;
  void renew_lease(replication::LeaseId lease, Callback<void> done) override;
  void revoke_lease(replication::LeaseId lease, Callback<void> done) override;
  WatchId watch(std::string prefix, replication::Revision from,
                std::function<void(const std::vector<replication::WatchEvent>&)> changed) override;
  void cancel_watch(WatchId watch) override;

 private:
  // Runs `request` at the service later, unless this store is gone.
  void later(Task request);

  SimMetadata& service_;
  Executor& executor_;
  std::shared_ptr<SimMetadataStore*> self_;
  std::optional<bool> lost_answer_;
  std::optional<ErrorCode> commit_error_;
  std::uint64_t commits_before_error_ = 0;
  bool drop_events_ = false;
  std::map<WatchId, std::uint64_t> watches_;  // to the service's listener
  WatchId next_watch_ = 1;
};

}  // namespace tidelog::sim
