#include "broker/router.h"

#include <utility>

namespace tidelog::broker {

std::size_t shard_of_partition(const TopicPartition& id, std::size_t shard_count) {
  return (std::hash<TopicId>{}(id.topic) + static_cast<std::size_t>(id.partition.value())) %
         shard_count;
}

Router::Router(std::size_t self, std::vector<Peer> peers)
    : self_(self), peers_(std::move(peers)), outgoing_(peers_.size()) {}

void Router::send(std::size_t shard, ShardTask task) {
  if (shard == self_) {
    task(peers_[self_].shard);
    return;
  }
  outgoing_[shard].push_back(std::move(task));
  anything_ = true;
}

void Router::flush() {
  if (!anything_) return;
  anything_ = false;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (outgoing_[i].empty()) continue;
    peers_[i].executor->post(
        [shard = peers_[i].shard, tasks = std::exchange(outgoing_[i], {})]() mutable {
          for (ShardTask& task : tasks) task(shard);
        });
  }
}

}  // namespace tidelog::broker
