// One replica of one partition: who may append, what is committed, what readers may see.
//
// States: kStopped -> kLeading (become_leader) -> kStopped (stop, or a failed log). Followers come
// with clusters; the rules are numbered as in REPLICATION.md (R1: produce, R2: high watermark, R3:
// leader start). With one broker the in-sync set is this replica.
//
// What the replica holds ends at the log's durable end or, where the topic says so
// (RecordDurability::kMemory), at its end: "durable" in the rules reads "received" then.
//
// Invariants: high_watermark() never goes back within a leader epoch and was, when it rose, at most
// the end of what the replica held; a produce is settled exactly once: success (committed in the
// same term), an error where nothing was appended or all of it withdrawn, or kUnknownOutcome.
// Thread: the shard's. Callbacks run on the executor, never inside the call. No clock, no
// randomness inside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/executor.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/partition_log.h"
#include "replication/cluster_view.h"
#include "replication/in_sync_set.h"

namespace tidelog::replication {

// Numbers as in wire/protocol.fbs.
enum class Acks : std::uint8_t { kNone = 0, kLeader = 1, kAll = 2 };

struct ProduceOutcome {
  Offset base_offset;                // -1: of a duplicate so old that its place is no longer known
  std::int64_t append_time_us = -1;  // as in log::AppendResult
  Offset start_offset;               // the log's start
};

struct ReplicaOptions {
  BrokerId self{0};
  std::size_t min_isr = 1;
  RecordDurability durability = RecordDurability::kDurable;
  // Appended and not yet committed; above it produce is refused with kOverloaded.
  std::size_t uncommitted_bytes_max = 64ULL << 20;
};

class Replica {
 public:
  // `log` and `executor` outlive the replica, which listens to the log while it lives. It starts
  // from the log's recovered high watermark, at most its durable end, and keeps the log informed of
  // later ones.
  Replica(Executor& executor, log::PartitionLog& log, const ReplicaOptions& options);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // R3: the end at election is remembered. What a former term left pending ends with
  // kUnknownOutcome. Does nothing once the log has failed. REQUIRES: epoch >= the log's last epoch
  // and > that of a term held before; `isr` holds this replica.
  void become_leader(LeaderEpoch epoch, InSyncSet isr);
  // Settles everything pending; further calls fail with kNotLeader. On a full disk what the log
  // could withdraw fails with kStorageFull, nothing of it is stored; all else ends with
  // kUnknownOutcome.
  void stop();

  // The topic's durability was altered: what is acknowledged from now on.
  void change_durability(RecordDurability durability);

  bool leading() const;
  LeaderEpoch leader_epoch() const;
  Offset high_watermark() const;
  // No transactions yet: equals the high watermark.
  Offset last_stable_offset() const { return high_watermark(); }
  const InSyncSet& isr() const;
  log::PartitionLog& log() { return log_; }
  const log::PartitionLog& log() const { return log_; }

  using ProduceCallback = std::move_only_function<void(Result<ProduceOutcome>)>;
  // R1. `batches` as PartitionLog::append wants them; copied before the call returns. `done` may be
  // null for kNone. What an idempotent producer sends again is not appended again: it settles as
  // the original does, and no sooner. Fails with kNotLeader, kNotEnoughReplicas, kOverloaded, and
  // what PartitionLog::append fails with.
  void produce(std::span<const std::byte> batches, Acks acks, ProduceCallback done);

  // R3: reads above the inherited high watermark answer kNotReady until it reached the end at
  // election. The limit a consumer may read up to now.
  Result<Offset> readable_end() const;

  // Called after the high watermark advanced (once per advance) and when the replica stops: parked
  // fetches look again.
  void on_advance(std::function<void()> listener);

 private:
  // Where what this replica holds ends.
  Offset held_end() const;
  // Calls held_advanced() once, soon, for all that happens meanwhile: never inside a caller's call.
  void advance_later();
  // Acknowledges what it holds, after held_end() may have moved.
  void held_advanced();
  void log_failed(const Error& error);
  // Raises the high watermark as far as R2 allows; true when it rose.
  bool raise_high_watermark();
  // Settles `done` as soon as what lies below the outcome's end is as safe as `acks` asks for.
  void settle_later(const log::AppendResult& appended, Acks acks, ProduceCallback done);
  // Answers what the durable end and the high watermark have passed.
  void settle();
  // Ends the term: everything pending answers kUnknownOutcome, later; or kStorageFull, where the
  // log withdrew what lies at or above `withdrawn`.
  void abandon(const std::string& reason, std::optional<Offset> withdrawn = std::nullopt);

  Executor& executor_;
  log::PartitionLog& log_;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tidelog::replication
