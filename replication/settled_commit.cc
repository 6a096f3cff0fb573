#include "replication/settled_commit.h"

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "replication/metadata_records.h"

namespace tidelog::replication {
namespace {

constexpr int kAttemptsMax = 5;
constexpr std::chrono::milliseconds kAttemptAgainAfter{200};

// One transaction on its way; lives in the callbacks of its present step.
class Attempts : public std::enable_shared_from_this<Attempts> {
 public:
  Attempts(MetadataStore& store, Executor& executor, std::weak_ptr<const void> owner,
           Transaction transaction, MetadataStore::Callback<TransactionResult> done)
      : store_(store),
        executor_(executor),
        owner_(std::move(owner)),
        transaction_(std::move(transaction)),
        done_(std::move(done)) {}

  void commit() {
    ++attempts_;
    store_.commit(transaction_, [self = shared_from_this()](Result<TransactionResult> result) {
      self->committed(std::move(result));
    });
  }

 private:
  void committed(Result<TransactionResult> result) {
    if (owner_.expired()) return;
    const bool unknown = !result && result.error().code() == ErrorCode::kUnknownOutcome;
    if (unknown && !unknown_) unknown_ = result.error();
    if (!unknown_ || (result && result->succeeded)) return done_(std::move(result));
    // An attempt with unknown outcome may be why this one's compares do not hold, or come to be
    // applied after it.
    store_.get(
        transaction_.operations.front().key,
        [self = shared_from_this(), refused = result.has_value()](
            Result<std::optional<KeyValue>> found) { self->looked(std::move(found), refused); });
  }

  void looked(Result<std::optional<KeyValue>> found, bool refused) {
    if (owner_.expired()) return;
    if (!found) return again();
    const Operation& first = transaction_.operations.front();
    const std::optional<KeyValue>& entry = *found;
    const bool applied = first.value ? entry && nonce_of(entry->value) == nonce_of(*first.value)
                                     : !entry.has_value();
    if (applied) {
      return done_(
          TransactionResult{.succeeded = true, .revision = entry ? entry->mod_revision : 0});
    }
    if (refused) return done_(TransactionResult{.succeeded = false, .revision = 0});
    again();
  }

  void again() {
    if (attempts_ == kAttemptsMax) return done_(fail(*unknown_));
    executor_.run_after(kAttemptAgainAfter, [self = shared_from_this()] {
      if (!self->owner_.expired()) self->commit();
    });
  }

  MetadataStore& store_;
  Executor& executor_;
  const std::weak_ptr<const void> owner_;
  const Transaction transaction_;
  MetadataStore::Callback<TransactionResult> done_;
  int attempts_ = 0;
  std::optional<Error> unknown_;
};

}  // namespace

void commit_settled(MetadataStore& store, Executor& executor, std::weak_ptr<const void> owner,
                    Transaction transaction, MetadataStore::Callback<TransactionResult> done) {
  TIDELOG_CHECK(!transaction.operations.empty(), "a transaction to settle changes something");
  std::make_shared<Attempts>(store, executor, std::move(owner), std::move(transaction),
                             std::move(done))
      ->commit();
}

}  // namespace tidelog::replication
