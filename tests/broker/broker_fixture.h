// A broker in this process on a temporary directory, with one shard or two.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "broker/broker.h"
#include "broker/connection.h"
#include "broker/settings.h"
#include "tests/broker/raw_client.h"

namespace tidelog::broker {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/tidelog-broker-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The parameter is the number of shards.
class BrokerTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { start(); }
  void TearDown() override { stop(); }

  BrokerSettings settings() {
    BrokerSettings settings;
    settings.data_dir = directory_.path() + "/data";
    settings.broker_id = BrokerId(7);
    settings.listen = {"127.0.0.1", 0};
    settings.admin_listen = HostPort{"127.0.0.1", 0};
    settings.shards = GetParam();
    settings.produce_memory_bytes = produce_memory_bytes_;
    settings.fetch_memory_bytes = fetch_memory_bytes_;
    settings.tail_cache_bytes = tail_cache_bytes_;
    settings.control_memory_bytes = control_memory_bytes_;
    // The smallest that is allowed.
    EXPECT_TRUE(set_broker_setting(settings, "journal.bytes.max", "32MiB"));
    EXPECT_FALSE(set_broker_setting(settings, "journal.bytes.max", "33554431"));
    if (change_settings_) change_settings_(settings);
    return settings;
  }
  void start() {
    auto started = Broker::start(settings(), limits_);
    ASSERT_TRUE(started) << started.error().to_string();
    broker_ = std::move(*started);
  }
  void stop() {
    if (!broker_) return;
    // Far above what it takes: a slow machine is not what these tests look for.
    const Result<> stopped = broker_->stop(std::chrono::seconds(120));
    EXPECT_TRUE(stopped) << stopped.error().to_string();
    broker_.reset();
  }
  void restart() {
    stop();
    start();
  }

  // A client that has said hello.
  RawClient connect() {
    RawClient client(broker_->port());
    const Answer answer = client.hello();
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    return client;
  }

  TopicId make_topic(const std::string& name, std::int32_t partitions = 1,
                     const std::map<std::string, std::string>& settings = {}) {
    RawClient client = connect();
    const Answer answer = client.create_topic(name, partitions, settings);
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    return topic_id_of(*answer.table<fb::CreateTopicAnswer>().id());
  }
  TopicPartition make_partition(const std::string& name,
                                const std::map<std::string, std::string>& settings = {}) {
    return {make_topic(name, 1, settings), PartitionIndex(0)};
  }

  // Looks again and again; the test fails after 20 s.
  static void wait_until(const std::function<bool()>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) ASSERT_LT(std::chrono::steady_clock::now(), give_up);
  }

  static flatbuffers::FlatBufferBuilder ping() {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreatePingRequest(to));
    return to;
  }

  // A sample of /metrics, by its name without labels and its shard.
  std::uint64_t metric(const std::string& name, int shard) { return sample(scrape(), name, shard); }
  std::uint64_t sum_of(const std::string& name) {
    const std::string page = scrape();
    std::uint64_t sum = 0;
    for (int shard = 0; shard < GetParam(); ++shard) sum += sample(page, name, shard);
    return sum;
  }

  // Of the budget "produce", "fetch" or "control".
  std::uint64_t memory_used(const std::string& budget) {
    return value_of(scrape(), "tidelog_budget_used_bytes{budget=\"" + budget + "\"} ");
  }

  TemporaryDirectory directory_;
  ConnectionLimits limits_;
  std::size_t produce_memory_bytes_ = 64 << 20;
  std::size_t fetch_memory_bytes_ = 64 << 20;
  std::size_t control_memory_bytes_ = 64 << 20;
  std::size_t tail_cache_bytes_ = 64 << 20;
  std::function<void(BrokerSettings&)> change_settings_;
  std::unique_ptr<Broker> broker_;

 private:
  std::string scrape() {
    RawClient scraper(broker_->admin_port());
    scraper.send_text("GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n");
    return scraper.receive_text();
  }
  static std::uint64_t sample(const std::string& page, const std::string& name, int shard) {
    return value_of(page, name + "{shard=\"" + std::to_string(shard) + "\"} ");
  }
  static std::uint64_t value_of(const std::string& page, const std::string& sample) {
    const std::size_t at = page.find("\n" + sample);
    if (at != std::string::npos) return std::stoull(page.substr(at + 1 + sample.size()));
    ADD_FAILURE() << "there is no " << sample;
    return 0;
  }
};

inline std::string shard_count_name(const ::testing::TestParamInfo<int>& info) {
  return info.param == 1 ? "OneShard" : info.param == 2 ? "TwoShards" : "FourShards";
}

#define TIDELOG_WITH_SHARDS(suite) \
  INSTANTIATE_TEST_SUITE_P(Shards, suite, ::testing::Values(1, 2), shard_count_name)

}  // namespace tidelog::broker
