#include "broker/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <thread>

namespace tidelog::broker {
namespace {

using std::chrono::microseconds;
using testing::HasSubstr;
using testing::Not;

constexpr auto kProduce = static_cast<std::uint16_t>(wire::ApiKey::kProduce);

BrokerGauges gauges() {
  BrokerGauges now;
  now.buffer_bytes_outstanding = 4096;
  now.durability = "stable";
  now.file_system = "ext4";
  now.io = "threads";
  now.log_lines = {0, 12, 2, 1};
  now.log_lines_dropped = 3;
  now.file_jobs_waiting = 5;
  now.topic_changes = 7;
  now.ready = true;
  now.storage_sound = false;
  return now;
}

TEST(LatencyHistogramTest, PutsEachLatencyIntoTheBucketWhoseBoundItDoesNotExceed) {
  LatencyHistogram histogram;
  histogram.record(microseconds(0));
  histogram.record(microseconds(20));
  histogram.record(microseconds(21));
  histogram.record(microseconds(10'000'000));
  histogram.record(microseconds(10'000'001));
  histogram.record(microseconds(-5));  // a clock that was set back
  EXPECT_EQ(histogram.bucket(0), 3u);
  EXPECT_EQ(histogram.bucket(1), 1u);
  EXPECT_EQ(histogram.bucket(17), 1u);
  EXPECT_EQ(histogram.bucket(18), 1u);
  EXPECT_EQ(histogram.sum_us(), 20'000'042u);
}

TEST(ShardMetricsTest, CountsTurnsAndThoseThatStall) {
  ShardMetrics metrics;
  for (const int us : {10, 5000, 5001, 70'000, 20})
    metrics.count_turn(std::chrono::microseconds(us));
  EXPECT_EQ(metrics.loop_turns.value(), 5U);
  EXPECT_EQ(metrics.stalled_turns.value(), 2U);
  EXPECT_EQ(metrics.longest_turn_us.value(), 70'000U);
}

TEST(BrokerMetricsTest, ShowsEachShardsNumbersUnderItsLabel) {
  BrokerMetrics metrics(2, "0.1.0", gauges);
  metrics.shard(0).produced_bytes.add(100);
  metrics.shard(1).produced_bytes.add(7);
  metrics.shard(1).produced_bytes.add();
  metrics.shard(0).connections.add(5);
  metrics.shard(0).connections.subtract(2);
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("# TYPE tidelog_produced_bytes_total counter\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_produced_bytes_total{shard=\"0\"} 100\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_produced_bytes_total{shard=\"1\"} 8\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE tidelog_connections gauge\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_connections{shard=\"0\"} 3\n"));
}

TEST(BrokerMetricsTest, ShowsRequestsByApiOverAllShardsAsAHistogramInSeconds) {
  BrokerMetrics metrics(2, "0.1.0", gauges);
  metrics.shard(0).request(kProduce)->latency.record(microseconds(150));
  metrics.shard(1).request(kProduce)->latency.record(microseconds(1'500'000));
  metrics.shard(1).request(kProduce)->errors.add();
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("# TYPE tidelog_request_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_count{api=\"produce\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_sum{api=\"produce\"} 1.50015\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_bucket{api=\"produce\",le=\"0.0001\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_bucket{api=\"produce\",le=\"0.0002\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_bucket{api=\"produce\",le=\"2\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_bucket{api=\"produce\",le=\"+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_errors_total{api=\"produce\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_request_seconds_count{api=\"fetch\"} 0\n"));
}

TEST(BrokerMetricsTest, ShowsWhatHoldsForTheWholeBroker) {
  const std::string text = BrokerMetrics(1, "0.1.0", gauges).text();
  EXPECT_THAT(text, HasSubstr("tidelog_buffer_bytes 4096\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_log_lines_dropped_total 3\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_log_lines_total{level=\"info\"} 12\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_log_lines_total{level=\"warning\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_file_jobs_waiting 5\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_topic_changes 7\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_ready 1\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_storage_sound 0\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_storage_info{durability=\"stable\",file_system=\"ext4\","
                              "io=\"threads\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("tidelog_build_info{version=\"0.1.0\"} 1\n"));
}

TEST(BrokerMetricsTest, ShowsExactlyTheMetricsOfItsTableWithTheirMeanings) {
  std::set<std::string> shown;
  std::istringstream lines(BrokerMetrics(1, "0.1.0", gauges).text());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) shown.insert(line.substr(7));
  }
  std::set<std::string> documented;
  for (const MetricInfo& info : metric_table()) {
    documented.insert(std::string(info.name) + " " + std::string(info.meaning));
    EXPECT_TRUE(info.type != "counter" || info.name.ends_with("_total")) << info.name;
  }
  EXPECT_EQ(shown, documented);
}

TEST(BrokerMetricsTest, HasNoCounterForAnApiThatNobodyKnows) {
  BrokerMetrics metrics(1, "0.1.0", gauges);
  EXPECT_EQ(metrics.shard(0).request(9999), nullptr);
  for (const wire::ApiInfo& api : wire::api_table()) {
    EXPECT_NE(metrics.shard(0).request(static_cast<std::uint16_t>(api.key)), nullptr) << api.name;
  }
}

TEST(BrokerMetricsTest, MayBeReadWhileShardsCount) {
  BrokerMetrics metrics(2, "0.1.0", gauges);
  constexpr int kRounds = 20'000;
  std::vector<std::thread> shards;
  for (std::size_t shard = 0; shard < 2; ++shard) {
    shards.emplace_back([&metrics, shard] {
      for (int i = 0; i < kRounds; ++i) {
        metrics.shard(shard).produced_batches.add();
        metrics.shard(shard).request(kProduce)->latency.record(microseconds(i));
      }
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_THAT(metrics.text(), Not(testing::IsEmpty()));
  for (std::thread& shard : shards) shard.join();
  EXPECT_THAT(metrics.text(), HasSubstr("tidelog_request_seconds_count{api=\"produce\"} 40000\n"));
}

}  // namespace
}  // namespace tidelog::broker
