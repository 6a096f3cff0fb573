#include "replication/local_store_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "log/io/storage_error.h"

namespace tidelog::replication {
namespace {

// A record holds transactions up to about this size.
constexpr std::size_t kGroupBytesMax = 4 << 20;

KeyValue key_value(const std::string& key, const StoredEntry& entry) {
  return {key, entry.value, entry.create_revision, entry.mod_revision};
}

}  // namespace

std::optional<KeyValue> LocalStore::State::get(const std::string& key) const {
  const auto at = entries_.find(key);
  if (at == entries_.end()) return std::nullopt;
  return key_value(at->first, at->second);
}

LocalStore::Listing LocalStore::State::list(const std::string& prefix,
                                            Revision mod_revision_min) const {
  Listing listing{.entries = {}, .revision = revision_};
  for (auto at = entries_.lower_bound(prefix); at != entries_.end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    if (at->second.mod_revision < mod_revision_min) continue;
    listing.entries.push_back(key_value(at->first, at->second));
  }
  return listing;
}

void LocalStore::State::commit(Transaction transaction, Callback<TransactionResult> done) {
  if (auto sound = check_transaction(transaction); !sound) return done(fail(sound.error()));
  if (closing_) return done(fail(ErrorCode::kCancelled, "the metadata store is closing"));
  queue_.push_back({std::move(transaction), 0, std::move(done)});
  pump();
}

void LocalStore::State::pump() {
  while (!writing_ && !queue_.empty() && !gone_) {
    Group group = take_group();
    if (group.logged.empty()) {
      for (Answer& answer : group.answers) {
        if (!gone_) answer.done(std::move(answer.result));
      }
      continue;
    }
    write(std::move(group));
  }
  if (!writing_ && closing_ && !gone_) finish_close();
}

LocalStore::State::Group LocalStore::State::take_group() {
  Group group;
  group.revision = revision_;
  while (!queue_.empty() && group.bytes < kGroupBytesMax) {
    // What frees space is written apart: nothing else uses the reserve, or is in its way.
    if (!group.logged.empty() && queue_.front().frees_space() != group.frees_space) break;
    Queued queued = std::move(queue_.front());
    queue_.pop_front();
    if (failure_) {
      group.answers.push_back({std::move(queued.done), fail(failed())});
    } else {
      evaluate(std::move(queued), group);
    }
  }
  return group;
}

const StoredEntry* LocalStore::State::find(const Group& group, const std::string& key) const {
  if (const auto at = group.overlay.find(key); at != group.overlay.end()) {
    return at->second ? &*at->second : nullptr;
  }
  const auto at = entries_.find(key);
  return at == entries_.end() ? nullptr : &at->second;
}

std::vector<Operation> LocalStore::State::effective_operations(Queued& queued,
                                                               const Group& group) const {
  std::vector<Operation> operations;
  if (queued.ended_lease != 0) {
    for (const auto& [key, entry] : entries_) {
      const StoredEntry* now = find(group, key);
      if (now != nullptr && now->lease == queued.ended_lease) operations.push_back({key, {}, 0});
    }
    for (const auto& [key, entry] : group.overlay) {
      const bool is_new = !entries_.contains(key);
      if (is_new && entry && entry->lease == queued.ended_lease) operations.push_back({key, {}, 0});
    }
    return operations;
  }
  for (Operation& operation : queued.transaction.operations) {
    const bool changes = operation.value.has_value() || find(group, operation.key) != nullptr;
    if (changes) operations.push_back(std::move(operation));
  }
  return operations;
}

void LocalStore::State::evaluate(Queued queued, Group& group) const {
  for (const Compare& compare : queued.transaction.compares) {
    const StoredEntry* entry = find(group, compare.key);
    if ((entry == nullptr ? 0 : entry->mod_revision) == compare.mod_revision) continue;
    group.answers.push_back({std::move(queued.done),
                             TransactionResult{.succeeded = false, .revision = group.revision}});
    return;
  }
  for (const Operation& operation : queued.transaction.operations) {
    if (operation.lease == 0 || leases_.contains(operation.lease)) continue;
    group.answers.push_back(
        {std::move(queued.done),
         fail(ErrorCode::kNotFound, fmt::format("the lease {} of metadata key {} has ended",
                                                operation.lease, operation.key))});
    return;
  }
  const bool frees_space = queued.frees_space();
  std::vector<Operation> operations = effective_operations(queued, group);
  const bool logged = !operations.empty();
  if (logged) {
    ++group.revision;
    group.frees_space = frees_space;
    for (const Operation& operation : operations) {
      group.bytes += operation.key.size() + (operation.value ? operation.value->size() : 0);
      const StoredEntry* before = find(group, operation.key);
      const Revision created = before != nullptr ? before->create_revision : group.revision;
      // Compares need the revisions only, and the ends of leases the lease: values stay in the
      // operations.
      group.overlay[operation.key] = operation.value
                                         ? std::optional(StoredEntry{.value = {},
                                                                     .create_revision = created,
                                                                     .mod_revision = group.revision,
                                                                     .lease = operation.lease})
                                         : std::nullopt;
    }
    group.logged.push_back({group.revision, std::move(operations)});
  }
  group.answers.push_back({std::move(queued.done),
                           TransactionResult{.succeeded = true, .revision = group.revision},
                           logged});
}

void LocalStore::State::run_blocking(std::move_only_function<Result<>(State&)> job,
                                     std::move_only_function<void(State&, Result<>)> then) {
  writing_ = true;
  ++quiet_;
  auto result = std::make_shared<Result<>>();
  blocking_.run(
      [self = shared_from_this(), result, job = std::move(job)]() mutable { *result = job(*self); },
      executor_,
      [self = shared_from_this(), result, then = std::move(then)]() mutable {
        self->writing_ = false;
        then(*self, std::move(*result));
        self->pump();
      });
}

void LocalStore::State::write(Group group) {
  auto shared = std::make_shared<Group>(std::move(group));
  run_blocking(
      [shared](State& self) { return self.log_->append(shared->logged, shared->frees_space); },
      [shared](State& self, Result<> result) {
        self.written(std::move(*shared), std::move(result));
      });
}

void LocalStore::State::refuse(Group& group, const Error& error) const {
  const bool final = log::io::is_final(error);
  for (Answer& answer : group.answers) {
    // Those not written were judged by what the others would have changed: they did not apply
    // either.
    answer.result = final && answer.logged
                        ? fail(ErrorCode::kUnknownOutcome, error.message())
                        : fail(final ? ErrorCode::kStorageFailed : error.code(), error.message());
  }
}

void LocalStore::State::written(Group group, Result<> result) {
  if (result) {
    for (const LoggedTransaction& transaction : group.logged)
      apply_transaction(transaction, entries_);
    revision_ = group.revision;
    unconfirmed_ = true;
    if (!gone_) tell_watches(group.logged);
  } else {
    if (log::io::is_final(result.error())) failure_ = result.error();
    refuse(group, result.error());
  }
  for (Answer& answer : group.answers) {
    if (!gone_) answer.done(std::move(answer.result));
  }
  if (gone_ || failure_) return;
  if (log_->wants_snapshot() && log_->log_bytes() >= snapshot_not_before_bytes_) {
    take_snapshot();
  } else {
    confirm_later();
  }
}

void LocalStore::State::take_snapshot() {
  run_blocking([](State& self) { return self.log_->write_snapshot(self.revision_, self.entries_); },
               [](State& self, Result<> result) {
                 if (result) {
                   self.unconfirmed_ = false;
                   self.snapshot_not_before_bytes_ = 0;
                 } else if (!log::io::is_final(result.error())) {
                   // The log goes on; the next try comes when it has grown as much again.
                   log_warning(fmt::format("a snapshot of the metadata has to wait: {}",
                                           result.error().to_string()));
                   self.snapshot_not_before_bytes_ = 2 * self.log_->log_bytes();
                   self.confirm_later();
                 } else {
                   self.failure_ = std::move(result).error();
                 }
               });
}

void LocalStore::State::confirm_later() {
  executor_.run_after(confirm_after_, [weak = weak_from_this(), quiet = quiet_] {
    const auto self = weak.lock();
    if (self && !self->gone_ && !self->writing_ && self->quiet_ == quiet) self->confirm();
  });
}

void LocalStore::State::confirm() {
  if (!unconfirmed_ || failure_ || closing_) return;
  run_blocking([](State& self) { return self.log_->confirm(); },
               [](State& self, Result<> result) {
                 if (result) {
                   self.unconfirmed_ = false;
                 } else if (log::io::is_final(result.error())) {
                   self.failure_ = std::move(result).error();
                 }
               });
}

void LocalStore::State::close(Callback<void> done) {
  TIDELOG_CHECK(!closing_, "a store is closed once");
  closing_ = true;
  close_done_ = std::move(done);
  pump();
}

void LocalStore::State::finish_close() {
  if (!close_done_) return;
  run_blocking(
      [](State& self) -> Result<> {
        Result<> confirmed;
        if (self.unconfirmed_ && !self.failure_) confirmed = self.log_->confirm();
        self.log_.reset();
        // Without space the last transaction is as stable as before, only not proven.
        const bool passing = !confirmed && !log::io::is_final(confirmed.error());
        return passing ? Result<>() : confirmed;
      },
      [done = std::move(close_done_)](State& self, Result<> result) mutable {
        if (self.gone_) return;
        if (result && self.failure_) result = fail(self.failed());
        done(std::move(result));
      });
}

Result<LeaseId> LocalStore::State::grant_lease(std::chrono::milliseconds ttl) {
  if (ttl <= std::chrono::milliseconds(0)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("a lease of {} ms", ttl.count()));
  }
  const LeaseId id = next_lease_++;
  Lease& lease = leases_[id];
  lease.ttl = ttl;
  start_lease_timer(id, lease);
  return id;
}

void LocalStore::State::start_lease_timer(LeaseId id, Lease& lease) {
  lease.timer = executor_.run_after(lease.ttl, [weak = weak_from_this(), id] {
    const auto self = weak.lock();
    if (self && !self->gone_) self->end_lease(id, [](Result<>) {});
  });
}

Result<> LocalStore::State::renew_lease(LeaseId lease) {
  const auto at = leases_.find(lease);
  if (at == leases_.end()) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no lease {}", lease));
  }
  executor_.cancel(at->second.timer);
  start_lease_timer(lease, at->second);
  return {};
}

void LocalStore::State::end_lease(LeaseId lease, Callback<void> done) {
  const auto at = leases_.find(lease);
  if (at == leases_.end()) {
    return done(fail(ErrorCode::kNotFound, fmt::format("there is no lease {}", lease)));
  }
  if (closing_) return done(fail(ErrorCode::kCancelled, "the metadata store is closing"));
  executor_.cancel(at->second.timer);
  leases_.erase(at);
  queue_.push_back({{}, lease, [done = std::move(done)](Result<TransactionResult> ended) mutable {
                      done(ended ? Result<>() : fail(std::move(ended).error()));
                    }});
  pump();
}

void LocalStore::State::add_watch(WatchId id, std::string prefix, Revision from,
                                  std::function<void(const std::vector<WatchEvent>&)> changed) {
  const std::lock_guard lock(watches_mutex_);
  watches_.emplace(id, std::make_shared<Watch>(std::move(prefix), from, std::move(changed)));
}

void LocalStore::State::cancel_watch(WatchId id) {
  const std::lock_guard lock(watches_mutex_);
  watches_.erase(id);
}

void LocalStore::State::tell_present_state(WatchId id) {
  std::shared_ptr<Watch> watch;
  {
    const std::lock_guard lock(watches_mutex_);
    if (const auto at = watches_.find(id); at != watches_.end()) watch = at->second;
  }
  if (!watch) return;
  std::vector<WatchEvent> events;
  for (KeyValue& entry : list(watch->prefix, watch->from).entries) {
    events.push_back({std::move(entry), false});
  }
  // Transactions from here on are told as they come, those up to here never again.
  watch->from = std::max(watch->from, revision_ + 1);
  if (!events.empty()) watch->changed(events);
}

void LocalStore::State::tell_watches(const std::vector<LoggedTransaction>& transactions) {
  std::vector<std::pair<WatchId, std::shared_ptr<Watch>>> watches;
  {
    const std::lock_guard lock(watches_mutex_);
    watches.assign(watches_.begin(), watches_.end());
  }
  for (const auto& [id, watch] : watches) {
    std::vector<WatchEvent> events;
    for (const LoggedTransaction& transaction : transactions) {
      if (transaction.revision < watch->from) continue;
      for (const Operation& operation : transaction.operations) {
        if (!operation.key.starts_with(watch->prefix)) continue;
        KeyValue entry{operation.key, operation.value.value_or(""), 0, transaction.revision};
        if (const auto at = entries_.find(operation.key); operation.value && at != entries_.end()) {
          // Only of the present life of the key is the creation known.
          entry.create_revision = std::min(at->second.create_revision, transaction.revision);
        }
        events.push_back({std::move(entry), !operation.value.has_value()});
      }
    }
    const auto cancelled = [this, watch_id = id] {
      const std::lock_guard lock(watches_mutex_);
      return !watches_.contains(watch_id);
    };
    if (!events.empty() && !gone_ && !cancelled()) watch->changed(events);
  }
}

}  // namespace tidelog::replication
