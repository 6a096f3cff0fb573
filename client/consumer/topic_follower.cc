#include "client/consumer/topic_follower.h"

#include <utility>

namespace tidelog::client_core {

TopicFollower::TopicFollower(ClusterMetadata& metadata, OffsetResolver& resolver, Added added)
    : metadata_(metadata), resolver_(resolver), added_(std::move(added)) {}

void TopicFollower::follow(const std::string& topic, const TopicId& id, std::int32_t first) {
  topics_.insert_or_assign(topic, Followed{.id = id, .known = first, .missing = {}});
  look();
}

void TopicFollower::stop() {
  topics_.clear();
  alive_ = std::make_shared<int>();
}

void TopicFollower::look() {
  for (auto at = topics_.begin(); at != topics_.end();) {
    const auto& [name, followed] = *at;
    const Topic* topic = metadata_.find(name);
    const bool is_another = topic != nullptr && !topic->error && topic->id != followed.id;
    at = is_another ? topics_.erase(at) : std::next(at);
  }
  for (auto& [name, followed] : topics_) {
    const Topic* topic = metadata_.find(name);
    if (topic == nullptr || topic->error) continue;
    const std::set<std::int32_t> again = std::exchange(followed.missing, {});
    for (const std::int32_t partition : again) resolve(name, partition);
    const auto count = static_cast<std::int32_t>(topic->partitions.size());
    for (; followed.known < count; ++followed.known) resolve(name, followed.known);
  }
}

void TopicFollower::resolve(const std::string& topic, std::int32_t partition) {
  resolver_.resolve(topic, partition, client::Position::start(),
                    [this, topic, partition,
                     alive = std::weak_ptr<int>(alive_)](const Result<ResolvedOffset>& start) {
                      if (!alive.expired()) resolved(topic, partition, start);
                    });
}

void TopicFollower::resolved(const std::string& topic, std::int32_t partition,
                             const Result<ResolvedOffset>& start) {
  const auto at = topics_.find(topic);
  if (at == topics_.end()) return;
  if (!start) {
    at->second.missing.insert(partition);
  } else if (start->topic == at->second.id) {
    added_(topic, partition, *start);
  }
}

}  // namespace tidelog::client_core
