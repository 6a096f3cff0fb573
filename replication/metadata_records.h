// The keys of cluster metadata and their values, which are JSON text (REPLICATION.md lists every
// field).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "replication/cluster_view.h"

namespace tidelog::replication {

inline constexpr std::string_view kNamePrefix = "/n/";
inline constexpr std::string_view kTopicPrefix = "/t/";
inline constexpr std::string_view kPartitionPrefix = "/p/";
inline constexpr std::string_view kProducerIdsKey = "/producer-ids";

std::string name_key(std::string_view topic_name);
std::string topic_key(const TopicId& topic);
std::string partition_key(const TopicPartition& partition);
// The reverse; nullopt for another key.
std::optional<TopicId> parse_topic_key(std::string_view key);
std::optional<TopicPartition> parse_partition_key(std::string_view key);

enum class TopicState : std::uint8_t {
  kCreating,  // not all partitions can take writes yet; no client ever heard of it
  kReady,
  kDeleted,  // tombstone: the only ground on which data may be deleted (R14)
};

// Value of /n/<name>.
struct NameRecord {
  TopicId topic;
  std::string nonce;
};

// Value of /t/<topic id>.
struct TopicRecord {
  std::string name;
  TopicState state = TopicState::kCreating;
  std::int32_t partitions = 0;
  std::int32_t replication_factor = 1;
  TopicSettings settings;
  std::string nonce;
  std::int32_t growing_to = 0;  // partitions are being added until there are so many; 0: none are
};

// One of `replicas`: a broker that is added again is another replica.
struct ReplicaEntry {
  BrokerId broker;
  std::uint64_t id = 0;
};

// Value of /p/<topic id>/<partition>.
struct PartitionRecord {
  std::vector<ReplicaEntry> replicas;
  std::vector<BrokerId> isr;
  BrokerId leader{-1};
  LeaderEpoch leader_epoch{0};
  std::int32_t min_isr = 1;
  std::string nonce;
};

// Value of /producer-ids.
struct ProducerIdsRecord {
  std::int64_t next = 0;  // ids below it were given to brokers
  std::string nonce;
};

std::string encode(const NameRecord& record);
std::string encode(const TopicRecord& record);
std::string encode(const PartitionRecord& record);
std::string encode(const ProducerIdsRecord& record);

// Fail with kCorruptData: the message names `key` and what is wrong with its value.
Result<NameRecord> decode_name(std::string_view key, std::string_view value);
Result<TopicRecord> decode_topic(std::string_view key, std::string_view value);
Result<PartitionRecord> decode_partition(std::string_view key, std::string_view value);
Result<ProducerIdsRecord> decode_producer_ids(std::string_view key, std::string_view value);

// The nonce of any of these values; empty when there is none.
std::string nonce_of(std::string_view value);

}  // namespace tidelog::replication
