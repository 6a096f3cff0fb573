// What was read for a fetch session and has not been sent yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "base/result.h"
#include "broker/budgets.h"
#include "broker/partition_hash.h"
#include "log/partition_log.h"

namespace tidelog::broker {

// News of one partition: batches or an error.
struct FetchChunk {
  TopicPartition id;
  std::uint32_t generation = 0;
  std::optional<Error> error;
  LeaderEpoch leader_epoch{-1};
  Offset start_offset{-1};
  Offset high_watermark{-1};
  Offset first_offset{-1};  // the position that this was read from
  Offset next_offset{-1};
  std::optional<log::PartitionLog::EpochEnd> diverging;
  std::optional<Offset> sound_offset;
  std::vector<SharedBytes> pieces;
  std::size_t bytes = 0;
  BudgetHold hold;
};

// At most what a chunk takes of an answer, with its batches or its error.
inline std::size_t answer_bytes(const FetchChunk& chunk) {
  constexpr std::size_t kResultBytes = 160;
  return kResultBytes + chunk.bytes + (chunk.error ? chunk.error->message().size() : 0);
}

// The chunks of a session, in the order they came. Thread: its session's.
class FetchNews {
 public:
  void add(FetchChunk chunk);
  // Of the partitions that a client moves or leaves. An error among it is of a partition that has
  // left the session already; it says nothing about the place where the client wants to be now.
  void drop(const PartitionSet& partitions);

  // Of batches.
  std::size_t bytes() const { return bytes_; }
  bool has_error() const { return errors_ > 0; }
  bool empty() const { return chunks_.empty(); }
  const std::deque<FetchChunk>& chunks() const { return chunks_; }

  // What fits into an answer, at least one of them.
  struct Results {
    std::vector<FetchChunk> chunks;  // one a partition
    std::vector<BudgetHold> holds;   // of batches that went on where those before them ended
  };
  Results take(std::size_t bytes_max);

 private:
  std::deque<FetchChunk> chunks_;
  std::size_t bytes_ = 0;
  std::size_t errors_ = 0;
};

}  // namespace tidelog::broker
