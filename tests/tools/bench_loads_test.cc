#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tools/bench/broker_usage.h"
#include "tools/bench/latency_histogram.h"
#include "tools/bench/payloads.h"

namespace tidelog::tools {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyHistogramTest, IsZeroWithoutValues) {
  const LatencyHistogram none;
  EXPECT_EQ(none.count(), 0U);
  EXPECT_EQ(none.at(0.99), nanoseconds(0));
  EXPECT_EQ(none.max(), nanoseconds(0));
}

TEST(LatencyHistogramTest, KeepsSmallValuesExactly) {
  LatencyHistogram latencies;
  for (int i = 1; i <= 100; ++i) latencies.record(nanoseconds(i));
  EXPECT_EQ(latencies.at(0), nanoseconds(1));
  EXPECT_EQ(latencies.at(0.5), nanoseconds(50));
  EXPECT_EQ(latencies.at(0.99), nanoseconds(99));
  EXPECT_EQ(latencies.at(1), nanoseconds(100));
}

TEST(LatencyHistogramTest, TellsAnyQuantileToOnePartIn64) {
  std::mt19937_64 random(7);
  std::vector<std::int64_t> values;
  LatencyHistogram latencies;
  for (int i = 0; i < 20'000; ++i) {
    // All sizes alike, from 0 to 2^62.
    const auto value = static_cast<std::int64_t>(random() >> (2 + random() % 62));
    values.push_back(value);
    latencies.record(nanoseconds(value));
  }
  std::ranges::sort(values);
  for (const double quantile : {0.0001, 0.25, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<std::size_t>(quantile * static_cast<double>(values.size()));
    const std::int64_t exact = values[rank - 1];
    const std::int64_t told = latencies.at(quantile).count();
    EXPECT_GE(told, exact) << quantile;
    EXPECT_LE(told - exact, exact / 64 + 1) << quantile;
  }
  EXPECT_EQ(latencies.max().count(), values.back());
  EXPECT_EQ(latencies.at(1).count(), values.back());
}

TEST(LatencyHistogramTest, TakesWhatClocksOfTwoThreadsMakeOfNothing) {
  LatencyHistogram latencies;
  latencies.record(nanoseconds(-5));
  EXPECT_EQ(latencies.count(), 1U);
  EXPECT_EQ(latencies.at(1), nanoseconds(0));
}

TEST(LatencyHistogramTest, TakesTheLongestTimeThereIs) {
  LatencyHistogram latencies;
  latencies.record(nanoseconds::max());
  EXPECT_EQ(latencies.at(0.5), nanoseconds::max());
}

TEST(LatencyHistogramTest, MergesAsIfAllHadBeenRecordedInOne) {
  LatencyHistogram one;
  LatencyHistogram other;
  LatencyHistogram all;
  for (int i = 0; i < 1000; ++i) {
    (i % 2 == 0 ? one : other).record(nanoseconds(i * 1000));
    all.record(nanoseconds(i * 1000));
  }
  one.merge(other);
  EXPECT_EQ(one.count(), all.count());
  EXPECT_EQ(one.max(), all.max());
  for (const double quantile : {0.1, 0.5, 0.9, 0.999}) {
    EXPECT_EQ(one.at(quantile), all.at(quantile));
  }
}

TEST(PayloadsTest, AreOfTheSizeAskedForAndDiffer) {
  const Payloads payloads(1000);
  EXPECT_EQ(payloads.value(0).size(), 1000U);
  EXPECT_NE(payloads.value(0), payloads.value(1));
  EXPECT_EQ(payloads.value(0), payloads.value(64));
  EXPECT_EQ(payloads.value(3), Payloads(1000).value(3));
  EXPECT_TRUE(Payloads(0).value(5).empty());
  EXPECT_EQ(Payloads(32 << 20).value(7).size(), std::size_t{32} << 20) << "of which there is one";
}

TEST(PayloadsTest, CarryTheirStamp) {
  const Payloads payloads(Payloads::kStampBytes);
  const auto stamp = Payloads::stamp_of(payloads.stamped({.run = 77, .record = 123'456'789'012}));
  ASSERT_TRUE(stamp);
  EXPECT_EQ(stamp->run, 77U);
  EXPECT_EQ(stamp->record, 123'456'789'012);
  EXPECT_FALSE(Payloads::stamp_of("short"));
}

TEST(BrokerUsageTest, AddsUpTheShards) {
  const auto usage = usage_in_metrics(
      "# HELP process_cpu_seconds_total processor time\n"
      "# TYPE process_cpu_seconds_total counter\n"
      "process_cpu_seconds_total 1.5\n"
      "process_resident_memory_bytes 20000000\n"
      "tidelog_journal_bytes_total{shard=\"0\"} 100\n"
      "tidelog_journal_bytes_total{shard=\"1\"} 1e3\n"
      "tidelog_journal_bytes_total_more{shard=\"1\"} 7\n"
      "tidelog_segment_bytes_total{shard=\"0\"} 10000");
  ASSERT_TRUE(usage) << usage.error().message();
  EXPECT_DOUBLE_EQ(usage->cpu_s, 1.5);
  EXPECT_EQ(usage->written_bytes, 11'100U);
  EXPECT_EQ(usage->memory_bytes, 20'000'000U);
}

TEST(BrokerUsageTest, NamesTheFigureThatIsMissing) {
  const auto usage = usage_in_metrics("process_cpu_seconds_total 1.5\nnonsense\n\n");
  ASSERT_FALSE(usage);
  EXPECT_NE(usage.error().message().find("process_resident_memory_bytes"), std::string::npos);
}

TEST(BrokerUsageTest, NamesTheBrokerThatDoesNotAnswer) {
  const auto usage = ask_usage({"127.0.0.1:1"});
  ASSERT_FALSE(usage);
  EXPECT_NE(usage.error().message().find("127.0.0.1:1"), std::string::npos);
}

}  // namespace
}  // namespace tidelog::tools
