#include "tests/sim/sim_metadata_store.h"

#include <utility>

namespace tidelog::sim {

using replication::Compare;
using replication::KeyValue;
using replication::LeaseId;
using replication::Operation;
using replication::Revision;
using replication::Transaction;
using replication::TransactionResult;
using replication::WatchEvent;

// ---- the service ----

Result<TransactionResult> SimMetadata::commit(const Transaction& transaction) {
  TIDELOG_TRY(replication::check_transaction(transaction));
  for (const Compare& compare : transaction.compares) {
    const auto at = entries_.find(compare.key);
    const Revision present = at == entries_.end() ? 0 : at->second.data.mod_revision;
    if (present != compare.mod_revision) {
      return TransactionResult{.succeeded = false, .revision = revision_};
    }
  }
  for (const Operation& operation : transaction.operations) {
    if (operation.lease != 0 && !leases_.contains(operation.lease)) {
      return fail(ErrorCode::kNotFound, "no such lease");
    }
  }
  const Revision next = revision_ + 1;
  std::vector<WatchEvent> events;
  for (const Operation& operation : transaction.operations) {
    if (!operation.value) {
      if (entries_.erase(operation.key) > 0) {
        events.push_back({{operation.key, "", 0, next}, true});
      }
      continue;
    }
    Entry& entry = entries_[operation.key];
    const Revision created = entry.data.create_revision == 0 ? next : entry.data.create_revision;
    entry = {{operation.key, *operation.value, created, next}, operation.lease};
    events.push_back({entry.data, false});
  }
  if (!events.empty()) revision_ = next;
  tell(events);
  return TransactionResult{.succeeded = true, .revision = revision_};
}

void SimMetadata::tell(const std::vector<WatchEvent>& events) {
  if (events.empty()) return;
  for (const auto& [id, listener] : listeners_) listener(events);
}

Result<LeaseId> SimMetadata::grant(std::chrono::milliseconds ttl) {
  if (ttl.count() <= 0) return fail(ErrorCode::kInvalidArgument, "a lease without time");
  const LeaseId id = next_lease_++;
  leases_[id] = {ttl, 0};
  arm(id);
  return id;
}

void SimMetadata::arm(LeaseId lease) {
  leases_.at(lease).timer =
      executor_.run_after(leases_.at(lease).ttl, [this, lease] { end_lease(lease); });
}

Result<> SimMetadata::renew(LeaseId lease) {
  const auto at = leases_.find(lease);
  if (at == leases_.end()) return fail(ErrorCode::kNotFound, "no such lease");
  executor_.cancel(at->second.timer);
  arm(lease);
  return {};
}

Result<> SimMetadata::revoke(LeaseId lease) {
  if (!leases_.contains(lease)) return fail(ErrorCode::kNotFound, "no such lease");
  end_lease(lease);
  return {};
}

void SimMetadata::end_lease(LeaseId lease) {
  const auto at = leases_.find(lease);
  if (at == leases_.end()) return;
  executor_.cancel(at->second.timer);
  leases_.erase(at);
  std::vector<WatchEvent> events;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->second.lease == lease) {
      events.push_back({{entry->first, "", 0, revision_ + 1}, true});
      entry = entries_.erase(entry);
    } else {
      ++entry;
    }
  }
  if (!events.empty()) ++revision_;
  tell(events);
}

// ---- one broker's way to it ----

SimMetadataStore::~SimMetadataStore() {
  for (const auto& [watch, listener] : watches_) service_.listeners_.erase(listener);
}

void SimMetadataStore::later(Task request) {
  executor_.post([alive = std::weak_ptr(self_), request = std::move(request)]() mutable {
    if (!alive.expired()) request();
  });
}

void SimMetadataStore::get(std::string key, Callback<std::optional<KeyValue>> done) {
  later([this, key = std::move(key), done = std::move(done)]() mutable {
    const auto at = service_.entries_.find(key);
    done(at == service_.entries_.end() ? std::nullopt : std::optional(at->second.data));
  });
}

void SimMetadataStore::list(std::string prefix, Revision mod_revision_min, Callback<Listing> done) {
  later([this, prefix = std::move(prefix), mod_revision_min, done = std::move(done)]() mutable {
    Listing listing{{}, service_.revision_};
    for (const auto& [key, entry] : service_.entries_) {
      if (key.starts_with(prefix) && entry.data.mod_revision >= mod_revision_min) {
        listing.entries.push_back(entry.data);
      }
    }
    done(std::move(listing));
  });
}

void SimMetadataStore::commit(Transaction transaction, Callback<TransactionResult> done) {
  later([this, transaction = std::move(transaction), done = std::move(done)]() mutable {
    if (const std::optional<bool> applied = std::exchange(lost_answer_, std::nullopt)) {
      if (*applied) {
        // Its outcome is what nobody hears of.
        [[maybe_unused]] const Result<TransactionResult> unheard = service_.commit(transaction);
      }
      return done(fail(ErrorCode::kUnknownOutcome, "the answer was lost"));
    }
    if (commit_error_ && commits_before_error_ == 0) {
      return done(fail(*commit_error_, "the store fails this commit"));
    }
    if (commit_error_) --commits_before_error_;
    done(service_.commit(transaction));
  });
}

void SimMetadataStore::grant_lease(std::chrono::milliseconds ttl, Callback<LeaseId> done) {
  later([this, ttl, done = std::move(done)]() mutable { done(service_.grant(ttl)); });
}

void SimMetadataStore::renew_lease(LeaseId lease, Callback<void> done) {
  later([this, lease, done = std::move(done)]() mutable { done(service_.renew(lease)); });
}

void SimMetadataStore::revoke_lease(LeaseId lease, Callback<void> done) {
  later([this, lease, done = std::move(done)]() mutable { done(service_.revoke(lease)); });
}

replication::MetadataStore::WatchId SimMetadataStore::watch(
    std::string prefix, Revision from,
    std::function<void(const std::vector<WatchEvent>&)> changed) {
  const WatchId id = next_watch_++;
  auto tell = [this, id, prefix, from, changed](const std::vector<WatchEvent>& events) {
    if (drop_events_) return;
    std::vector<WatchEvent> below;
    for (const WatchEvent& event : events) {
      if (event.entry.key.starts_with(prefix) && event.entry.mod_revision >= from) {
        below.push_back(event);
      }
    }
    if (below.empty()) return;
    later([this, id, changed, below = std::move(below)] {
      if (watches_.contains(id)) changed(below);
    });
  };
  std::vector<WatchEvent> present;
  present.reserve(service_.entries_.size());
  for (const auto& [key, entry] : service_.entries_) present.push_back({entry.data, false});
  tell(present);
  watches_[id] = service_.next_listener_++;
  service_.listeners_[watches_[id]] = std::move(tell);
  return id;
}

void SimMetadataStore::cancel_watch(WatchId watch) {
  const auto at = watches_.find(watch);
  if (at == watches_.end()) return;
  service_.listeners_.erase(at->second);
  watches_.erase(at);
}

}  // namespace tidelog::sim
