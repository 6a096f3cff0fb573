// Commits a transaction until its outcome is known (R12).
#pragma once

#include <memory>

#include "base/executor.h"
#include "replication/metadata_store.h"

namespace tidelog::replication {

// Commits `transaction`. When the store does not know the outcome, reads the key of the first
// operation: a value of its own nonce there (or no value, where that operation deletes) means that
// it was applied; else the same transaction is committed again under the same compares, a bounded
// number of times. Since at most one of those attempts can pass its compares, the transaction is
// never applied twice. `done` runs on the store's executor. REQUIRES: the first operation's key is
// among the compares, and a put there carries a nonce of its own; or all operations are deletions
// of what nobody makes again, which may be applied twice. Fails as commit(); with
// kUnknownOutcome only when the store does not answer any more. Does nothing more once `owner` is
// gone.
void commit_settled(MetadataStore& store, Executor& executor, std::weak_ptr<const void> owner,
                    Transaction transaction, MetadataStore::Callback<TransactionResult> done);

}  // namespace tidelog::replication
