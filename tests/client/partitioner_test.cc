#include "client/producer/partitioner.h"

#include <gtest/gtest.h>

#include "tidelog/producer.h"

namespace tidelog::client_core {
namespace {

// Published by Apache Kafka's own unit tests, so that keys land alike.
TEST(PartitionerTest, HashesAsPublished) {
  const auto hash = [](std::string_view key) { return static_cast<std::int32_t>(murmur2(key)); };
  EXPECT_EQ(hash("21"), -973932308);
  EXPECT_EQ(hash("foobar"), -790332482);
  EXPECT_EQ(hash("a-little-bit-long-string"), -985981536);
  EXPECT_EQ(hash("a-little-bit-longer-string"), -1486304829);
  EXPECT_EQ(hash("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58897971);
  EXPECT_EQ(hash("abc"), 479470107);
}

TEST(PartitionerTest, TakesTheHashWithoutSignModuloThePartitions) {
  EXPECT_EQ(partition_of_key("21", 10), static_cast<std::int32_t>((-973932308 & 0x7FFFFFFF) % 10));
  EXPECT_EQ(client::partition_for_key("foobar", 1000), (-790332482 & 0x7FFFFFFF) % 1000);
  EXPECT_EQ(client::partition_for_key("abc", 1), 0);
}

TEST(PartitionerTest, TreatsAnEmptyKeyAsAKey) {
  EXPECT_EQ(partition_of_key("", 7), partition_of_key(std::string(), 7));
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("")), 275646681);
}

TEST(PartitionerTest, SpreadsManyKeysOverAllPartitions) {
  std::array<int, 8> counts{};
  for (int key = 0; key < 8000; ++key) {
    ++counts[static_cast<std::size_t>(partition_of_key("user-" + std::to_string(key), 8))];
  }
  for (const int count : counts) {
    EXPECT_GT(count, 800);
    EXPECT_LT(count, 1200);
  }
}

}  // namespace
}  // namespace tidelog::client_core
