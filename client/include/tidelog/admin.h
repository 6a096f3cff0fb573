// Admin: topics and what the brokers say of them. Calls block until answered; they fail with
// CONNECTION_FAILED (no broker could be reached) or TIMED_OUT after connect.request_timeout at the
// latest, with CONNECTION_CLOSED when the answer was lost, with CANCELLED when the admin is or was
// closed (behind these and TIMED_OUT a change that was asked for may have been made), and with what
// the broker answers. Thread: any; not the one that connect.log runs on, where only close() works
// and every other call fails with INVALID_ARGUMENT. An admin must not be destroyed there.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tidelog/error.h"
#include "tidelog/options.h"

namespace tidelog::client {

struct TopicSummary {
  std::string name{};
  std::string topic_id{};  // 32 hex digits
  std::int32_t partitions = 0;
  std::int32_t replication_factor = 0;
};

struct PartitionDescription {
  std::int32_t partition = 0;
  std::int32_t leader = -1;
  std::int32_t leader_epoch = -1;
  std::vector<std::int32_t> replicas{};
  std::vector<std::int32_t> isr{};
  std::int64_t start_offset = 0;
  std::int64_t high_watermark = 0;
  std::int64_t log_end_offset = 0;
  std::string problem{};  // empty where the partition is sound
};

struct TopicDescription {
  std::string name{};
  std::string topic_id{};
  std::map<std::string, std::string> settings{};  // all, defaults included
  std::vector<PartitionDescription> partitions{};
};

struct NewTopic {
  std::string name{};
  std::int32_t partitions = 1;
  std::int32_t replication_factor = -1;  // the broker's default
  std::map<std::string, std::string> settings{};
};

// What is to be true of a topic's settings from now on.
struct TopicChange {
  std::map<std::string, std::string> settings{};
  std::vector<std::string> defaults{};  // names of settings that go back to their default
};

struct TrimmedPartition {
  std::int32_t partition = 0;
  std::int64_t start_offset = -1;  // afterwards; -1 where it was refused
  std::string problem{};           // empty where it was done
};

struct BrokerStatus {
  std::int32_t id = -1;
  std::string address{};  // HOST:PORT for clients
  std::string admin{};    // HOST:PORT of the admin pages; empty: off
  std::string state{};    // "starting", "serving", "draining", "storage_failed"
  std::string version{};
  std::string durability{};  // "stable", "weaker", "not_stable", "network"
  std::string storage{};     // the same in a sentence
  std::vector<std::string> warnings{};
  std::int32_t partitions = 0;  // replicas on this broker
  std::int32_t leaders = 0;     // of them led by it
  std::int64_t started_ms = 0;  // since 1970-01-01 UTC
};

struct ClusterStatus {
  std::string cluster_id{};  // 32 hex digits
  std::int32_t controller = -1;
  std::string metadata{};  // where the cluster's metadata lives: "local"
  std::vector<BrokerStatus> brokers{};
};

struct BrokerSetting {
  std::string name{};
  std::string value{};
  std::string origin{};  // "default", "file", "environment", "flag", "live"
  bool is_live = false;  // may be changed while the broker runs
  std::string type{};
  std::string default_value{};
  std::string meaning{};
};

struct BrokerSettings {
  std::int32_t broker = -1;
  std::vector<BrokerSetting> settings{};  // by name
};

class Admin {
 public:
  explicit Admin(ConnectOptions options);
  // As close() with a deadline of zero.
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Fails with TOPIC_EXISTS, INVALID_TOPIC_NAME, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR,
  // INVALID_SETTING.
  Status create_topic(const NewTopic& topic);
  // Its records are gone. Fails with UNKNOWN_TOPIC.
  Status delete_topic(const std::string& name);
  // Durable, and followed by every partition, when it returns; all of it or nothing. Fails with
  // UNKNOWN_TOPIC, INVALID_SETTING.
  Status alter_topic(const std::string& name, const TopicChange& change);
  // Makes the topic have `total` partitions. Keys map to other partitions from then on. Fails with
  // UNKNOWN_TOPIC, INVALID_PARTITIONS (fewer than there are, or too many).
  Status add_partitions(const std::string& name, std::int32_t total);
  // Deletes the records before an offset, by partition; -1: all before the high watermark. Each
  // partition settles by itself. Fails with UNKNOWN_TOPIC.
  Result<std::vector<TrimmedPartition>> delete_records(
      const std::string& name, const std::map<std::int32_t, std::int64_t>& before);
  // By name.
  Result<std::vector<TopicSummary>> list_topics();
  // Fails with UNKNOWN_TOPIC.
  Result<TopicDescription> describe_topic(const std::string& name);
  Result<ClusterStatus> cluster_status();
  // Of the broker that answers.
  Result<BrokerSettings> broker_settings();
  // All changes or none, until the broker restarts; returns the settings as they are then. Fails
  // with INVALID_SETTING: an unknown name, a bad value, a setting that needs a restart.
  Result<BrokerSettings> change_broker_settings(const std::map<std::string, std::string>& changes);

  // Ends the connections, and every call in other threads. Returns within the deadline, or a second
  // behind it where connect.log runs on and on: then false, and the rest ends behind that. May be
  // called again.
  bool close(std::chrono::milliseconds deadline);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidelog::client
