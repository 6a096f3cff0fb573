// All topics and partitions as the metadata store holds them, checked for being whole.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "replication/metadata_records.h"
#include "replication/metadata_store.h"

namespace tidelog::replication {

struct StoredPartition {
  PartitionRecord record;
  // Of its key; 0: the key is absent (of a topic that is not READY, or being added).
  Revision revision = 0;
};

struct StoredTopic {
  TopicId id;
  TopicRecord record;
  Revision revision = 0;
  // record.partitions of them, and behind those the ones that are being added.
  std::vector<StoredPartition> partitions;
};

using MetadataImage = std::unordered_map<TopicId, StoredTopic>;

// Reads the listings of "/n/", "/t/" and "/p/".
// Fails with kCorruptData: a key or value cannot be read; a name and its topic do not point at each
// other; a READY topic lacks a partition; a partition has no topic.
Result<MetadataImage> read_image(const std::vector<KeyValue>& names,
                                 const std::vector<KeyValue>& topics,
                                 const std::vector<KeyValue>& partitions);

// The topic as clients see it.
std::shared_ptr<const TopicView> view_of(const StoredTopic& topic);

}  // namespace tidelog::replication
