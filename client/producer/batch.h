// A batch on its way: filled by users' threads, then owned by the sender until it is settled.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/ids.h"
#include "client/producer/sequence.h"
#include "tidelog/producer.h"
#include "wire/batch_builder.h"

namespace tidelog::client_core {

using RecordCallback = client::Producer::Callback;

// What remains of a record once its bytes are in the batch.
struct RecordSlot {
  RecordCallback callback;
  std::int64_t timestamp_ms = 0;
};

struct Batch {
  wire::BatchBuilder builder;
  std::vector<RecordSlot> records;
  SteadyTime opened_at;           // when its first record was accepted
  std::uint64_t flush_epoch = 0;  // see Accumulator::begin_flush()
  std::size_t charged_bytes = 0;  // of the producer's buffer
  std::size_t payload_bytes = 0;  // keys, values and headers

  // Set by the sender.
  SharedBytes encoded;
  std::optional<TopicId> encoded_for;   // its header checksum holds for this topic only
  std::optional<BatchNumbers> numbers;  // of an idempotent producer; its own once it was sent
  std::size_t bytes_max = SIZE_MAX;     // larger was refused, whatever the metadata says
  std::uint64_t order = 0;              // rises with every send to its partition
  bool resolved = false;                // answered or lost, but held until those behind it are too
  bool maybe_stored = false;            // lost: nobody knows
  std::optional<Error> trouble;         // why it was not acknowledged
  bool out_of_sequence = false;         // that is why: what comes before it is not in the log

  // What it adds to a request, about.
  std::size_t send_bytes() const { return encoded.empty() ? builder.size() : encoded.size(); }
};

struct TopicQueue;

// Where a partition stands in the expiry queue.
struct ExpiryPlace {
  SteadyTime since;
  std::uint64_t serial = 0;  // of one time, in the order they came

  auto operator<=>(const ExpiryPlace&) const = default;
};

// One partition's batches, oldest first: retry, then ready, then open.
struct PartitionQueue {
  PartitionQueue(TopicQueue& owner, PartitionIndex at) : topic(owner), index(at) {}

  TopicQueue& topic;
  const PartitionIndex index;

  // Under the accumulator's lock.
  std::deque<std::unique_ptr<Batch>> ready;  // full, or closed by a flush
  std::unique_ptr<Batch> open;               // null, or with at least one record
  bool touched = false;                      // in the accumulator's list for the sender

  // The sender's own.
  std::deque<std::unique_ptr<Batch>> retry;
  std::deque<std::unique_ptr<Batch>> in_flight;  // in the order sent
  PartitionSequence sequence;                    // of an idempotent producer
  std::size_t unanswered = 0;                    // of in_flight
  std::uint64_t sent_on = 0;                     // connection of the last that was sent
  bool recovering = false;  // something was refused or lost: nothing new is sent until all is known
  std::uint64_t next_order = 1;
  std::uint64_t acknowledged_order = 0;  // the highest that was
  std::uint64_t maybe_stored_order = 0;  // the highest that was reported as of unknown outcome
  SteadyTime not_before{};               // backoff
  std::uint64_t metadata_after = 0;      // wait for a metadata answer later than this
  int refusals = 0;                      // in a row
  bool active = false;                   // in the sender's list
  std::optional<ExpiryPlace> expiry_place;

  bool idle() const { return retry.empty() && in_flight.empty(); }
};

// A record whose topic is not known yet: its partition cannot be chosen.
struct WaitingRecord {
  client::Record record;
  RecordCallback callback;
  SteadyTime accepted_at;
  std::uint64_t flush_epoch = 0;
  std::size_t charged_bytes = 0;
};

struct TopicQueue {
  explicit TopicQueue(std::string topic_name) : name(std::move(topic_name)) {}

  const std::string name;
  // All of this under the accumulator's lock.
  bool known = false;
  bool asked = false;                     // the sender was told of it
  std::int32_t partition_count = 0;       // partitions beyond it are of an earlier topic
  std::vector<std::int32_t> with_leader;  // where keyless records may go
  std::size_t batch_bytes_limit = 0;
  std::vector<std::unique_ptr<PartitionQueue>> partitions;
  std::deque<WaitingRecord> waiting;
  std::int32_t sticky = -1;
};

}  // namespace tidelog::client_core
