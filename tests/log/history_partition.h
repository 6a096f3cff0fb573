// What a random history knows of one life of a partition: what was appended, acknowledged and cut,
// and an idempotent producer that writes to it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "log/log_store.h"
#include "tests/log/produced_batches.h"
#include "tests/sim/sim_random.h"
#include "wire/record_batch.h"

namespace tidelog::log {

// A batch as a producer made it. `values` name its records to the checker of histories.
struct MadeBatch {
  std::vector<std::byte> bytes;
  std::vector<std::string> values;
};

// Records whose values begin with `name` and are about `bytes` bytes together.
MadeBatch make_named_batch(const TopicPartition& id, const std::string& name,
                           const ProducerIdentity& identity, std::size_t bytes,
                           sim::SimRandom& random);
// The names of the records of a batch, as read: altered bytes give other names.
Result<std::vector<std::string>> names_in(const wire::BatchView& batch);

struct HistoryPartition {
  struct Appended {
    Offset next;
    std::uint64_t checksum = 0;  // of the batch as stamped
    std::vector<std::string> values;
    bool idempotent = false;  // its producer sends it again when it is not acknowledged
  };
  // In the order of their sequence: sent, not known to be acknowledged.
  struct Pending {
    MadeBatch batch;
    bool appended = false;  // in this life
    Offset next;            // where it ends, when it was
  };
  struct Producer {
    std::string name;
    ProducerId id{-1};
    std::int32_t next_sequence = 0;
    std::deque<Pending> pending;
    // The last one that was acknowledged, to be sent once more.
    std::optional<std::pair<MadeBatch, Offset>> last;
  };

  TopicPartition id;
  std::string name;  // of this life
  PartitionLogSettings settings;
  bool created = false;           // the creation was answered
  bool removing = false;          // a removal began
  std::optional<Offset> cutting;  // a truncation to here, a batch's base, began
  std::map<Offset, Appended> batches;
  Offset heard;           // the durable end, as its listener heard
  Offset acknowledged;    // what the checker was told
  Offset start;           // the least that the log's start may be
  Offset start_max;       // the most; with retention the durable end
  bool retained = false;  // settings let its start move by itself
  Offset position;        // of its consumer
  std::uint64_t sent = 0;
  Producer producer;

  Offset end() const { return batches.empty() ? Offset(0) : batches.rbegin()->second.next; }
  // The base of the batch that holds `offset`. REQUIRES: one does.
  Offset batch_at(Offset offset) const { return std::prev(batches.upper_bound(offset))->first; }
  void new_producer();
};

}  // namespace tidelog::log
