// How the consumer's core reads, and what memory it takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/consumer_world.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::ElementsAre;

TEST(FetcherTest, ReadsALogFromItsStartAndWhatComesThen) {
  ConsumerWorld world(1);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 10; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(100));
  world.broker.append("t", 0, numbers(100, 110));
  const auto appended_at = world.executor.clock().now();
  ASSERT_TRUE(world.take_until(110));
  EXPECT_LT(world.executor.clock().now() - appended_at, 5ms);  // a parked fetch brings it
  EXPECT_EQ(world.values, numbers(0, 110));
  EXPECT_EQ(world.queue.high_watermark(*world.fetcher->cursor("t", 0)), 110);
}

TEST(FetcherTest, FetchesNoMoreThanItsBoundUntilSomeIsPolled) {
  constexpr std::size_t kBound = 200'000;
  ConsumerWorld world(5, {.prefetch_bytes_max = kBound, .fetch_bytes_max = 64 * 1024});
  world.broker.create_topic("t", 2);
  const std::vector<std::string> values(10, std::string(1000, 'x'));
  for (int i = 0; i < 100; ++i) {
    world.broker.append("t", 0, values);
    world.broker.append("t", 1, values);
  }
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
  world.executor.run_for(10s);
  EXPECT_GT(world.queue.bytes(), kBound / 2);
  EXPECT_LE(world.queue.bytes(), kBound + 2 * 11'000);  // one batch per open fetch more
  EXPECT_LE(world.broker.fetch_bytes_answered, kBound + 2 * 11'000);
  ASSERT_TRUE(world.take_until(2000));
  EXPECT_EQ(world.values.size(), 2000U);
}

TEST(FetcherTest, ReadsSeveralPartitionsWithTwoConnections) {
  ConsumerWorld world(16);
  world.broker.create_topic("t", 20);
  std::vector<client::Assignment> assignments;
  for (std::int32_t i = 0; i < 20; ++i) {
    world.broker.append("t", i, {std::to_string(i)});
    assignments.push_back({"t", i, Position::start()});
  }
  ASSERT_TRUE(world.assign(assignments).has_value());
  ASSERT_TRUE(world.take_until(20));
  EXPECT_EQ(world.network.connects(), 2U);
}

TEST(FetcherTest, LeavesAPartitionThatWasGivenUpWhileItsSessionWasOpened) {
  ConsumerWorld world(17);
  world.broker.create_topic("left", 1);
  world.broker.create_topic("kept", 1);
  ASSERT_TRUE(world.resolve("left", Position::offset(0)).has_value());  // metadata is known now
  ASSERT_TRUE(world.resolve("kept", Position::offset(0)).has_value());
  ASSERT_TRUE(world.assign({{"left", 0, Position::offset(0)}}).has_value());
  ASSERT_TRUE(world.executor.run_until([&] { return world.broker.counts.fetches == 1; }));
  ASSERT_TRUE(world.assign({{"kept", 0, Position::offset(0)}}).has_value());
  ASSERT_EQ(world.broker.counts.fetches, 1);  // its answer is on its way
  world.executor.run_for(1s);
  world.broker.append("left", 0, numbers(0, 10));
  world.executor.run_for(1s);
  EXPECT_EQ(world.broker.fetch_bytes_answered, 0U);
  world.broker.append("kept", 0, {"read"});
  ASSERT_TRUE(world.take_until(1));
  EXPECT_THAT(world.values, ElementsAre("read"));
}

TEST(FetcherTest, StaysWithinItsBoundWithBatchesThatAreSmallerThanTheirBuffers) {
  constexpr std::size_t kBound = 200'000;
  ConsumerWorld world(18, {.prefetch_bytes_max = kBound});
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  for (int i = 0; i < 1000; ++i) {
    world.broker.append("t", 0, {std::to_string(i)});
    world.executor.run_for(2ms);  // an answer each
  }
  EXPECT_GT(world.pool->outstanding_bytes(), kBound / 2);
  EXPECT_LE(world.pool->outstanding_bytes(), kBound + 4 * 64 * 1024);  // reading, and answers
  ASSERT_TRUE(world.take_until(1000));
  EXPECT_EQ(world.values, numbers(0, 1000));
}

TEST(FetcherTest, ReadsEvenWithoutRoomToPrefetch) {
  ConsumerWorld world(27, {.prefetch_bytes_max = 0});
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 10; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(100));
  EXPECT_EQ(world.values, numbers(0, 100));
}

}  // namespace
}  // namespace tidelog::client_core
