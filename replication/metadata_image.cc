#include "replication/metadata_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace tidelog::replication {
namespace {

std::unexpected<Error> corrupt(std::string_view key, std::string_view what) {
  return fail(ErrorCode::kCorruptData, fmt::format("metadata key {} {}", key, what));
}

Result<> read_topics(const std::vector<KeyValue>& entries, MetadataImage& image) {
  for (const KeyValue& entry : entries) {
    const auto id = parse_topic_key(entry.key);
    if (!id) return corrupt(entry.key, "names no topic id");
    TIDELOG_ASSIGN(TopicRecord record, decode_topic(entry.key, entry.value));
    StoredTopic topic{*id, std::move(record), entry.mod_revision, {}};
    topic.partitions.resize(
        static_cast<std::size_t>(std::max(topic.record.partitions, topic.record.growing_to)));
    image.emplace(*id, std::move(topic));
  }
  return {};
}

Result<> read_partitions(const std::vector<KeyValue>& entries, MetadataImage& image) {
  for (const KeyValue& entry : entries) {
    const auto id = parse_partition_key(entry.key);
    if (!id) return corrupt(entry.key, "names no partition");
    const auto topic = image.find(id->topic);
    if (topic == image.end()) return corrupt(entry.key, "has no topic key beside it");
    const auto index = static_cast<std::size_t>(id->partition.value());
    if (index >= topic->second.partitions.size()) {
      return corrupt(entry.key, fmt::format("is beyond the {} partitions of its topic",
                                            topic->second.partitions.size()));
    }
    TIDELOG_ASSIGN(PartitionRecord record, decode_partition(entry.key, entry.value));
    topic->second.partitions[index] = {std::move(record), entry.mod_revision};
  }
  return {};
}

Result<> check_names(const std::vector<KeyValue>& entries, const MetadataImage& image) {
  std::unordered_set<TopicId> named;
  for (const KeyValue& entry : entries) {
    TIDELOG_ASSIGN(const NameRecord record, decode_name(entry.key, entry.value));
    const auto topic = image.find(record.topic);
    if (topic == image.end() || topic->second.record.state == TopicState::kDeleted) {
      return corrupt(entry.key, fmt::format("points at topic {}, which does not exist",
                                            record.topic.to_string()));
    }
    if (entry.key != name_key(topic->second.record.name)) {
      return corrupt(entry.key, fmt::format("points at a topic whose name is '{}'",
                                            topic->second.record.name));
    }
    named.insert(record.topic);
  }
  for (const auto& [id, topic] : image) {
    if (topic.record.state != TopicState::kDeleted && !named.contains(id)) {
      return corrupt(topic_key(id),
                     fmt::format("has no key {} beside it", name_key(topic.record.name)));
    }
  }
  return {};
}

}  // namespace

Result<MetadataImage> read_image(const std::vector<KeyValue>& names,
                                 const std::vector<KeyValue>& topics,
                                 const std::vector<KeyValue>& partitions) {
  MetadataImage image;
  TIDELOG_TRY(read_topics(topics, image));
  TIDELOG_TRY(read_partitions(partitions, image));
  TIDELOG_TRY(check_names(names, image));
  for (const auto& [id, topic] : image) {
    if (topic.record.state != TopicState::kReady) continue;
    for (std::size_t i = 0; i < static_cast<std::size_t>(topic.record.partitions); ++i) {
      if (topic.partitions[i].revision == 0) {
        return corrupt(topic_key(id), fmt::format("lacks its partition {}", i));
      }
    }
  }
  return image;
}

std::shared_ptr<const TopicView> view_of(const StoredTopic& topic) {
  auto view = std::make_shared<TopicView>();
  view->id = topic.id;
  view->name = topic.record.name;
  view->settings = topic.record.settings;
  view->replication_factor = topic.record.replication_factor;
  const auto known = static_cast<std::size_t>(topic.record.partitions);
  view->partitions.reserve(known);
  for (const StoredPartition& partition : std::span(topic.partitions).first(known)) {
    PartitionView& seen = view->partitions.emplace_back();
    for (const ReplicaEntry& replica : partition.record.replicas) {
      seen.replicas.push_back(replica.broker);
    }
    seen.isr = partition.record.isr;
    seen.leader = partition.record.leader;
    seen.leader_epoch = partition.record.leader_epoch;
    seen.min_isr = partition.record.min_isr;
    seen.revision = partition.revision;
  }
  return view;
}

}  // namespace tidelog::replication
