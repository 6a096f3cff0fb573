// One partition of a scripted broker: batches in memory, stamped as a leader stamps them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "base/result.h"
#include "tests/sim/scripted_producers.h"
#include "wire/record_batch.h"

namespace tidelog::sim {

class ScriptedLog {
 public:
  explicit ScriptedLog(TopicPartition partition) : partition_(partition) {}

  // Verifies, stamps and keeps a batch as a producer sent it, once if it has a producer id.
  // Returns its base offset.
  Result<Offset> append(std::span<const std::byte> batch, std::int64_t append_time_us);

  // Batches from the one that holds `offset` on, whole, at most `bytes_max` but at least one.
  struct Read {
    std::vector<SharedBytes> batches;
    std::size_t bytes = 0;
    Offset next;
  };
  Read read(Offset offset, std::size_t bytes_max) const;

  // Forgets every idempotent producer.
  void forget_producers() { producers_.forget_all(); }

  const TopicPartition& partition() const { return partition_; }
  Offset end() const { return end_; }
  Offset start() const { return start_; }
  // Makes `offset` the start; batches that end at or before it go.
  void trim(Offset offset);
  // Where the first batch with a record of this time or later begins to be readable.
  std::optional<Offset> find_time(std::int64_t timestamp_ms) const;
  // Flips a bit of the batch that holds `offset`, `byte` bytes from its start.
  void corrupt(Offset offset, std::size_t byte);

  // All records' values, in order; nulls as "<null>".
  std::vector<std::string> values() const;
  std::size_t batch_count() const { return batches_.size(); }

 private:
  struct Kept {
    SharedBytes bytes;
    Offset base;
    Offset next;
    std::int64_t max_timestamp_ms;
  };
  TopicPartition partition_;
  ScriptedProducers producers_;
  std::vector<Kept> batches_;
  Offset start_{0};
  Offset end_{0};
};

}  // namespace tidelog::sim
