// Admin: topics and what the brokers say of them. Calls block until answered, or fail with
// TIMED_OUT after connect.request_timeout. Concurrency: safe from several threads.
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

class Admin {
 public:
  explicit Admin(ConnectOptions options);
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  Status create_topic(const NewTopic& topic);
  Status delete_topic(const std::string& name);
  Result<std::vector<TopicSummary>> list_topics();
  Result<TopicDescription> describe_topic(const std::string& name);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidelog::client
