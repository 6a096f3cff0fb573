// Cluster metadata: small keys with revisions, changed only by compare-and-swap transactions.
//
// Safety rests on transactions alone; reads, watches and leases affect speed (REPLICATION.md).
// Values carry their writer's nonce so that a writer recognises its own unknown outcome.
// Implementations: local (local_store.h) and the simulated one of the tests; one conformance suite
// runs over all of them.
//
// Thread: any; callbacks run on the executor given at construction, in the order of revisions.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace tidelog::replication {

// Counts committed transactions that changed something; 0 is before the first.
using Revision = std::uint64_t;

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision = 0;
  Revision mod_revision = 0;
};

// True while the key's mod revision equals `mod_revision`; 0: while the key is absent.
struct Compare {
  std::string key;
  Revision mod_revision = 0;
};

// A lease's id; 0 is none.
using LeaseId = std::uint64_t;

struct Operation {
  std::string key;
  std::optional<std::string> value;  // nullopt deletes the key
  LeaseId lease = 0;                 // a put with a lease goes when the lease ends
};

// Limits of one transaction: of its compares, of its operations, of all its keys and values
// together, of one key.
inline constexpr std::size_t kOperationsPerTransactionMax = 128;
inline constexpr std::size_t kTransactionBytesMax = 1 << 20;
inline constexpr std::size_t kMetadataKeyBytesMax = 512;

struct Transaction {
  std::vector<Compare> compares;      // all must hold
  std::vector<Operation> operations;  // of distinct keys
  // Leads to free space: where there is none it may use what is kept back for such transactions.
  bool frees_space = false;
};

// Checks the limits above, that no key is empty and that no key is changed twice. Fails with
// kInvalidArgument.
Result<> check_transaction(const Transaction& transaction);

struct TransactionResult {
  bool succeeded = false;
  Revision revision = 0;  // of the store after it
};

struct WatchEvent {
  KeyValue entry;
  bool deleted = false;
};

class MetadataStore {
 public:
  virtual ~MetadataStore() = default;

  template <typename T>
  using Callback = std::move_only_function<void(Result<T>)>;

  virtual void get(std::string key, Callback<std::optional<KeyValue>> done) = 0;

  struct Listing {
    std::vector<KeyValue> entries;  // sorted by key
    Revision revision = 0;
  };
  // All keys that begin with `prefix`, changed at or after `mod_revision_min`.
  virtual void list(std::string prefix, Revision mod_revision_min, Callback<Listing> done) = 0;

  // Applies all operations or none; stable when `done` runs with succeeded. Fails with
  // kUnknownOutcome (it may have been applied: read the keys and look for the own nonce),
  // kInvalidArgument (too many operations), kStorageFailed; not applied: kStorageFull, kOverloaded.
  virtual void commit(Transaction transaction, Callback<TransactionResult> done) = 0;

  virtual void grant_lease(std::chrono::milliseconds ttl, Callback<LeaseId> done) = 0;
  // The lease lives for another ttl. Fails with kNotFound.
  virtual void renew_lease(LeaseId lease, Callback<void> done) = 0;
  // Deletes its keys. Fails with kNotFound.
  virtual void revoke_lease(LeaseId lease, Callback<void> done) = 0;

  using WatchId = std::uint64_t;
  // Hints about changes at or after `from` below `prefix`; may skip intermediate states, never
  // invents any.
  virtual WatchId watch(std::string prefix, Revision from,
                        std::function<void(const std::vector<WatchEvent>&)> changed) = 0;
  virtual void cancel_watch(WatchId watch) = 0;
};

}  // namespace tidelog::replication
