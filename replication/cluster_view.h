// What a broker knows of its cluster: an immutable snapshot that shards read without locks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/log_options.h"

namespace tidelog::replication {

// What an acknowledgement of a topic's records means (`durability`).
enum class RecordDurability : std::uint8_t {
  kDurable,  // they are on stable storage
  kMemory,   // they were received; they are written right after, but a crash may lose them
};

// Settings of one topic: only names of topic_setting_table(), values checked.
struct TopicSettings {
  std::map<std::string, std::string, std::less<>> values;  // those set explicitly

  // Keeps the value in its plain form ("1MiB" as "1048576").
  // Fails with kInvalidSetting: unknown name (the message names the closest one) or bad value.
  Result<> set(std::string_view name, std::string_view value);
  // The default from now on. Fails with kInvalidSetting: unknown name.
  Result<> reset(std::string_view name);
  // The value that is in force: the one set, else the default. REQUIRES: `name` is in
  // topic_setting_table().
  std::string_view value(std::string_view name) const;

  log::PartitionLogSettings log_settings() const;
  std::int32_t min_insync_replicas() const;
  RecordDurability durability() const;
};

struct TopicSettingInfo {
  std::string_view name;
  std::string_view default_value;
  std::string_view type;  // "bytes", "ms", "enum(a|b)" ...
  std::string_view meaning;
};
// Sorted by name.
std::span<const TopicSettingInfo> topic_setting_table();

// Checks the characters and length of a topic name. Fails with kInvalidTopicName.
Result<> check_topic_name(std::string_view name);

struct PartitionView {
  std::vector<BrokerId> replicas;
  std::vector<BrokerId> isr;
  BrokerId leader{-1};
  LeaderEpoch leader_epoch{0};
  std::int32_t min_isr = 1;
  std::uint64_t revision = 0;  // of its key
};

struct TopicView {
  TopicId id;
  std::string name;
  TopicSettings settings;
  std::int32_t replication_factor = 1;
  std::vector<PartitionView> partitions;
};

class ClusterView {
 public:
  // Null when there is none.
  const TopicView* find(std::string_view name) const;
  const TopicView* find(const TopicId& id) const;
  // By name.
  const std::map<std::string, std::shared_ptr<const TopicView>, std::less<>>& topics() const {
    return by_name_;
  }
  // The names nearest to `name` (edit distance), best first, at most three: for "did you mean".
  std::vector<std::string> closest_names(std::string_view name) const;

  void insert(std::shared_ptr<const TopicView> topic);
  void erase(const TopicId& id);

 private:
  std::map<std::string, std::shared_ptr<const TopicView>, std::less<>> by_name_;
  std::unordered_map<TopicId, std::shared_ptr<const TopicView>> by_id_;
};

}  // namespace tidelog::replication
