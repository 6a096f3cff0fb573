// Where a fetch session stands in one partition, kept by the shard that owns the partition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/ids.h"
#include "base/result.h"
#include "broker/budgets.h"
#include "broker/fetch_news.h"
#include "log/partition_log.h"

namespace tidelog::broker {

struct Partition;
class Topics;

// Where a session wants to read a partition.
struct FetchTarget {
  TopicPartition id;
  Offset offset;
  LeaderEpoch last_epoch{-1};            // of the last record read; -1 unknown
  LeaderEpoch current_leader_epoch{-1};  // -1 unknown
  std::uint32_t bytes_max = 0;           // in one delivery
  std::uint32_t generation = 0;          // tells this position from former ones of the session
};

struct FetchPosition {
  enum class State : std::uint8_t {
    kReady,    // in the reader's queue
    kWaiting,  // at the end of what can be read
    kReading,  // a read from the disk is in flight
  };
  std::uint64_t session = 0;
  FetchTarget target;
  Partition* partition = nullptr;  // null: it is not here
  std::size_t place = 0;           // in partition->positions
  State state = State::kReady;
  bool fresh = true;  // nothing was read from here yet: the position itself is still to be checked
  std::size_t reading_bytes = 0;

  // What must be true before anything is read: why that is refused, or nullopt. It is checked once.
  // REQUIRES: it is in a partition.
  std::optional<FetchChunk> check(Offset readable_end, const Topics& topics);
  // News of what was read from here, which `hold` counts; the position moves behind it.
  // REQUIRES: hold.bytes() >= result.bytes.
  FetchChunk advance(log::ReadResult result, BudgetHold hold);
  // News that it cannot be read on.
  FetchChunk refusal(const Error& error, const Topics& topics) const;

 private:
  FetchChunk nothing() const;
};

}  // namespace tidelog::broker
