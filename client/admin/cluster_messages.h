// The requests and answers about the cluster and its brokers, as plain structs.
// Decoders fail with kMalformedFrame.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/messages.h"

namespace tidelog::client_core {

struct BrokerStatus {
  std::int32_t id = -1;
  std::string address;
  std::string admin;  // empty: off
  std::string state;  // "starting", "serving", "draining", "storage_failed", "unknown"
  std::string version;
  std::string durability;  // "stable", "weaker", "not_stable", "network", "unknown"
  std::string storage;
  std::vector<std::string> warnings;
  std::int32_t partitions = 0;
  std::int32_t leaders = 0;
  std::int64_t started_ms = 0;
};
struct ClusterStatusAnswer {
  AnswerStatus status;
  ClusterId cluster_id{};
  std::int32_t controller = -1;
  std::string metadata;
  std::vector<BrokerStatus> brokers;
};
Table encode_cluster_status();
Result<ClusterStatusAnswer> decode_cluster_status(std::span<const std::byte> table);

struct BrokerSettingsRequest {
  std::vector<std::pair<std::string, std::string>> changes;  // name and value
};
struct BrokerSetting {
  std::string name;
  std::string value;
  std::string origin;  // "default", "file", "environment", "flag", "live", "unknown"
  bool is_live = false;
  std::string type;
  std::string default_value;
  std::string meaning;
};
struct BrokerSettingsAnswer {
  AnswerStatus status;
  std::int32_t broker_id = -1;
  std::vector<BrokerSetting> settings;
};
Table encode(const BrokerSettingsRequest& request);
Result<BrokerSettingsAnswer> decode_broker_settings(std::span<const std::byte> table);

}  // namespace tidelog::client_core
