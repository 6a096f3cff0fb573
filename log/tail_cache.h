// Bounds the memory of stable chunks of a shard: the chunk that was destaged first goes first. What
// is not stable is not here and never goes.
#pragma once

#include <cstddef>
#include <memory>

#include "log/fifo.h"
#include "log/log_tail.h"

namespace tidelog::log {

// Thread: the shard's.
class TailCache {
 public:
  explicit TailCache(std::size_t bytes_max);

  // `chunks` more chunks of `tail`, `bytes` of memory, are stable.
  void add(const std::shared_ptr<LogTail>& tail, std::size_t chunks, std::size_t bytes);
  // Stable chunks went without eviction (truncation, removal).
  void forget(std::size_t bytes) { bytes_ -= bytes; }

  std::size_t bytes() const { return bytes_; }
  // Chunks it counts, some of which may be of logs that are gone.
  std::size_t chunks() const { return order_.size(); }

 private:
  void shrink();
  void drop_gone();

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  Fifo<std::weak_ptr<LogTail>> order_;  // one entry a chunk
  std::size_t drop_at_;                 // chunks of logs that are gone go when there are so many
};

}  // namespace tidelog::log
