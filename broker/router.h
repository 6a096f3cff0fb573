// Which shard owns a partition, and the only way from one shard to another.
//
// Work for another shard is collected and posted once per loop turn, in order; work for this shard
// runs at once. Whatever travels is moved: buffers as SharedBytes, never copies of payloads.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/executor.h"
#include "base/ids.h"

namespace tidelog::broker {

class Shard;

// Work that runs on a shard's thread, which it is given (never null). Never throws.
using ShardTask = std::move_only_function<void(Shard*)>;

// The shard of a partition: a topic's partitions spread evenly, whatever the number of shards.
std::size_t shard_of_partition(const TopicPartition& id, std::size_t shard_count);

// One shard's way to all shards. Thread: the shard's, except where said.
class Router {
 public:
  struct Peer {
    Shard* shard = nullptr;
    Executor* executor = nullptr;
  };
  // `peers` has one entry per shard, in their order; `self` is the index of this one.
  Router(std::size_t self, std::vector<Peer> peers);

  std::size_t self() const { return self_; }
  std::size_t shard_count() const { return peers_.size(); }
  std::size_t owner_of(const TopicPartition& id) const {
    return shard_of_partition(id, peers_.size());
  }

  // Runs `task` on `shard`: before this returns when it is this one, else after flush().
  void send(std::size_t shard, ShardTask task);

  // Posts what was collected; called at the end of each loop turn.
  void flush();

 private:
  const std::size_t self_;
  const std::vector<Peer> peers_;
  std::vector<std::vector<ShardTask>> outgoing_;
  bool anything_ = false;
};

}  // namespace tidelog::broker
