// Admin: topics and what the brokers say of them. Calls block until answered; they fail with
// TIMED_OUT or CONNECTION_FAILED after connect.request_timeout at the latest, with
// CONNECTION_CLOSED when the answer was lost (a change may have been made, then), and with what the
// broker answers. Thread: any; not the one that connect.log runs on, where every call fails with
// INVALID_ARGUMENT.
#pragma once

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

class Admin {
 public:
  explicit Admin(ConnectOptions options);
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

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidelog::client
