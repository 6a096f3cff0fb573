// The producer's core: takes batches from the accumulator to the leaders of their partitions and
// settles every record once. A state machine on the executor, without threads, clocks or
// randomness of its own.
//
// Order. Batches of a partition are sent in the order they were filled, several at once. When one
// is refused and may be tried again, or lost, nothing new of its partition is sent until the fate
// of everything behind it is known. Then it is sent again, first, unless a later one is in the log
// or may be: sending it then would reorder records, so it is reported as failed. With one request
// in flight per partition that never happens.
//
// Outcome. A batch whose connection broke, or that the broker itself reports as timed out, may or
// may not be in the log: UNKNOWN_OUTCOME, or sent again under `retry_unknown`.
//
// Time. A request waits for its answer no longer than its oldest batch, or one sent before it in
// their partition, has left of its delivery timeout (but kLastTryMin at least), so that every
// record is settled within its delivery timeout and that. What has little time left travels apart
// from what has more.
//
// Idempotence. With it every batch has a number in its partition, by which the broker takes it once
// and in order: whatever is refused or lost is sent again, first, until its delivery timeout, and
// UNKNOWN_OUTCOME remains only for what was lost then. Where a batch can never be sent again, the
// partition goes on in a new epoch (idempotence.cc).
//
// Thread: the executor's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "client/broker_pool.h"
#include "client/cluster_metadata.h"
#include "client/producer/accumulator.h"
#include "client/producer/expiry_queue.h"
#include "client/producer/identity.h"

namespace tidelog::client_core {

struct SenderOptions {
  PoolOptions pool{};
  AcksOnWire acks = AcksOnWire::kAll;
  wire::Compression compression{};
  std::chrono::milliseconds linger{5};
  std::chrono::milliseconds request_timeout{30000};
  std::chrono::milliseconds delivery_timeout{120000};
  std::chrono::milliseconds metadata_max_age = std::chrono::minutes(5);
  int in_flight_max = 5;
  bool retry_unknown = false;  // without idempotence
  bool idempotent = false;     // REQUIRES: acks is not kNone
};

class Sender {
 public:
  // All references must outlive this.
  Sender(wire::Network& network, Executor& executor, BufferPool& buffers, Accumulator& accumulator,
         SenderOptions options, std::uint64_t seed);
  ~Sender();
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // Looks for work; call when the accumulator says so. May call records' callbacks.
  void pump();

  // Settles everything: never sent as CANCELLED, in flight as UNKNOWN_OUTCOME. Ends the
  // connections. Nothing is sent afterwards.
  void abandon();

  // How often a partition was looked at for records that waited too long.
  std::uint64_t expiry_looks() const { return expiry_queue_.taken(); }

 private:
  // One batch of a request; in partition->in_flight until it is answered.
  struct Sent {
    PartitionQueue* partition;
    Batch* batch;
    bool answered = false;
  };
  using SentList = std::vector<Sent>;

  void take_new_work();
  void note_metadata();
  void note_topic(const Topic& topic);
  // Gives up what waited too long, if any may have.
  void expire(SteadyTime now);
  void expire_queued(PartitionQueue& partition, SteadyTime too_old);
  // Lists the partition by its oldest record that waits, if there is one.
  void await_expiry(PartitionQueue& partition);
  // When something that waits now may have waited too long.
  std::optional<SteadyTime> next_expiry() const;
  void activate(PartitionQueue& partition);
  void drop_idle_partitions();

  // What a request with this batch in it may take at most.
  std::chrono::milliseconds time_for(const PartitionQueue& partition, SteadyTime opened_at,
                                     SteadyTime now) const;
  void send_due(SteadyTime now);
  // When this partition may send next; nullopt when only an event can change that.
  std::optional<SteadyTime> due_at(const PartitionQueue& partition) const;
  // Where to send to; nullopt while there is no leader.
  std::optional<BrokerShard> leader_of(PartitionQueue& partition);
  void send_request(Connection& connection, std::vector<PartitionQueue*>& due, SteadyTime now);
  // The oldest batch, fit to be sent to this topic; what became larger than its limit is split, and
  // what cannot be sent fails. Null: nothing is left.
  std::unique_ptr<Batch> next_batch(PartitionQueue& partition);
  std::unique_ptr<Batch> oldest_batch(PartitionQueue& partition);
  struct NextToSend {
    std::size_t bytes;     // that it adds to a request, about
    SteadyTime opened_at;  // now where there is none
  };
  NextToSend next_to_send(const PartitionQueue& partition) const;
  // Encodes a batch that is not yet, with the numbers it is due; anew where it was refused by a
  // topic that is gone. Fails with kUnknownOutcome (it may be in that), kUnsupportedCodec.
  Result<> prepare(PartitionQueue& partition, Batch& batch, const TopicId& id);
  void transmit(Connection& connection, const ProduceRequest& request, std::vector<SharedBytes> raw,
                std::chrono::milliseconds timeout, SentList sent);
  void arm_timer(SteadyTime now);
  void time_came();

  void answered(SentList& sent, const std::expected<Answer, CallFailure>& answer);
  void apply(SentList& sent, const Answer& answer);
  void settle(Sent& sent, const AnswerStatus& status, const StoredAt& stored);
  void refuse(PartitionQueue& partition, Batch& batch, const AnswerStatus& status);
  void lose(PartitionQueue& partition, Batch& batch, const Error& cause);
  void recover_if_quiet(PartitionQueue& partition);
  void recover_batch(PartitionQueue& partition, std::unique_ptr<Batch> batch,
                     std::deque<std::unique_ptr<Batch>>& again);

  // --- Idempotence.
  bool sends_again_what_is_lost() const { return options_.idempotent || options_.retry_unknown; }
  // False: the partition waits for a producer id.
  bool has_identity(PartitionQueue& partition);
  // The broker misses what comes before this batch, or the producer as a whole.
  void note_out_of_sequence(PartitionQueue& partition, Batch& batch, const AnswerStatus& status);
  // The oldest batch does not fit: nothing that comes before it will ever be sent. Everything that
  // is certainly not stored goes on in a new epoch.
  void heal(PartitionQueue& partition);

  std::unique_ptr<Batch> take_in_flight(PartitionQueue& partition, const Batch& batch);
  void acknowledge(PartitionQueue& partition, std::unique_ptr<Batch> batch, const StoredAt& stored);
  // Reports `cause`, as an unknown outcome where the batch may be in the log.
  void fail_batch(PartitionQueue& partition, std::unique_ptr<Batch> batch, const Error& cause);
  void fail_record(const WaitingRecord& record, const Error& error);
  // Everything of the partition that is not in flight.
  void fail_queued(PartitionQueue& partition, const Error& error);
  void fail_topic(const std::string& name, const Error& error);
  // Everything of every partition and topic that is not in flight.
  void fail_all_queued(const Error& error);
  Error too_late(const std::optional<Error>& trouble) const;

  Executor& executor_;
  BufferPool& buffers_;
  Accumulator& accumulator_;
  const SenderOptions options_;
  SeededRandom random_;
  std::set<std::string, std::less<>> topics_;  // that records are or were for
  std::vector<PartitionQueue*> active_;        // with anything queued or in flight
  std::size_t next_start_ = 0;                 // of the next walk through active_: fairness
  std::uint64_t answers_noted_ = 0;
  ExpiryQueue expiry_queue_;  // of active_, by what is not in flight
  SteadyTime expiry_not_before_{};
  TimerId timer_ = 0;
  std::optional<SteadyTime> next_due_;
  bool abandoned_ = false;
  // Last, so that connections and their callbacks go first.
  BrokerPool pool_;
  ClusterMetadata metadata_;
  Identity identity_;
};

}  // namespace tidelog::client_core
