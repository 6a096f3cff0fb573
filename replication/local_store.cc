#include "replication/local_store.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "replication/local_store_state.h"
#include "replication/metadata_log.h"

namespace tidelog::replication {

Result<bool> LocalStore::exists(log::io::FileSystem& files, const std::string& path) {
  return MetadataLog::exists(files, path);
}

Result<std::unique_ptr<LocalStore>> LocalStore::open(log::io::FileSystem& files, Executor& executor,
                                                     BlockingExecutor& blocking,
                                                     LocalStoreOptions options) {
  if (!options.random_id) options.random_id = random_id;
  MetadataLog::Contents contents;
  TIDELOG_ASSIGN(std::unique_ptr<MetadataLog> log,
                 MetadataLog::open(files,
                                   {.path = options.path,
                                    .random_id = options.random_id,
                                    .snapshot_log_bytes_min = options.snapshot_log_bytes_min},
                                   contents));
  LoggedTransaction ended{.revision = contents.revision + 1, .operations = {}};
  for (const auto& [key, entry] : contents.entries) {
    if (entry.lease != 0) ended.operations.push_back({key, std::nullopt, 0});
  }
  if (!ended.operations.empty()) {
    TIDELOG_TRY(log->append({&ended, 1}, /*from_reserve=*/true));
    apply_transaction(ended, contents.entries);
    contents.revision = ended.revision;
  }
  const bool created = contents.created;
  std::string note;
  if (contents.dropped_bytes > 0) {
    note = fmt::format("{}: {} bytes of a transaction that was never acknowledged were dropped",
                       options.path, contents.dropped_bytes);
  }
  std::unique_ptr<LocalStore> store(new LocalStore(
      executor, std::make_shared<State>(executor, blocking, std::move(log), std::move(contents),
                                        options.confirm_after)));
  store->created_ = created;
  store->recovery_note_ = std::move(note);
  return store;
}

LocalStore::~LocalStore() { state_->leave(); }

template <typename Work>
void LocalStore::on_executor(Work work) {
  executor_.post([state = state_, work = std::move(work)]() mutable {
    if (!state->gone()) work(*state);
  });
}

void LocalStore::close(Callback<void> done) {
  on_executor([done = std::move(done)](State& state) mutable { state.close(std::move(done)); });
}

void LocalStore::get(std::string key, Callback<std::optional<KeyValue>> done) {
  on_executor([key = std::move(key), done = std::move(done)](State& state) mutable {
    done(state.get(key));
  });
}

void LocalStore::list(std::string prefix, Revision mod_revision_min, Callback<Listing> done) {
  on_executor([prefix = std::move(prefix), mod_revision_min, done = std::move(done)](
                  State& state) mutable { done(state.list(prefix, mod_revision_min)); });
}

void LocalStore::commit(Transaction transaction, Callback<TransactionResult> done) {
  on_executor([transaction = std::move(transaction), done = std::move(done)](State& state) mutable {
    state.commit(std::move(transaction), std::move(done));
  });
}

void LocalStore::grant_lease(std::chrono::milliseconds ttl, Callback<LeaseId> done) {
  on_executor(
      [ttl, done = std::move(done)](State& state) mutable { done(state.grant_lease(ttl)); });
}

void LocalStore::renew_lease(LeaseId lease, Callback<void> done) {
  on_executor(
      [lease, done = std::move(done)](State& state) mutable { done(state.renew_lease(lease)); });
}

void LocalStore::revoke_lease(LeaseId lease, Callback<void> done) {
  on_executor([lease, done = std::move(done)](State& state) mutable {
    state.end_lease(lease, std::move(done));
  });
}

MetadataStore::WatchId LocalStore::watch(
    std::string prefix, Revision from,
    std::function<void(const std::vector<WatchEvent>&)> changed) {
  const WatchId id = next_watch_.fetch_add(1, std::memory_order_relaxed);
  state_->add_watch(id, std::move(prefix), from, std::move(changed));
  on_executor([id](State& state) { state.tell_present_state(id); });
  return id;
}

void LocalStore::cancel_watch(WatchId watch) { state_->cancel_watch(watch); }

}  // namespace tidelog::replication
