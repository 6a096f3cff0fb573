// Where the consumer's core reads: assigning, seeking, and finding positions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/consumer_world.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::IsEmpty;

TEST(FetcherPositionsTest, RefusesANameThatNoTopicHasWithoutAskingBrokers) {
  ConsumerWorld world(31);
  world.broker.create_topic("t", 1);
  for (const std::size_t bytes : {0U, 250U, 70'000U}) {
    SCOPED_TRACE(bytes);
    const Result<> assigned = world.assign({{std::string(bytes, 'x'), 0, Position::start()}});
    ASSERT_FALSE(assigned.has_value());
    EXPECT_EQ(assigned.error().code(), ErrorCode::kInvalidTopicName);
    EXPECT_EQ(world.broker.counts.metadata, 0);
  }
  EXPECT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
}

TEST(FetcherPositionsTest, SkipsToTheWantedOffsetInsideABatch) {
  ConsumerWorld world(2);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  world.broker.append("t", 0, numbers(10, 20));
  ASSERT_TRUE(world.assign({{"t", 0, Position::offset(7)}}).has_value());
  ASSERT_TRUE(world.take_until(13));
  EXPECT_EQ(world.values, numbers(7, 20));
  EXPECT_EQ(world.offsets.front(), 7);
}

TEST(FetcherPositionsTest, DropsWhatWasFetchedWhenSought) {
  ConsumerWorld world(6);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 50; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  EXPECT_GT(world.queue.bytes(), 0U);
  ASSERT_TRUE(world.seek("t", 0, Position::offset(495)).has_value());
  ASSERT_TRUE(world.take_until(5));
  EXPECT_EQ(world.values, numbers(495, 500));
  ASSERT_TRUE(world.seek("t", 0, Position::start(3)).has_value());
  ASSERT_TRUE(world.take_until(5 + 497));
  EXPECT_EQ(world.values[5], "3");
  EXPECT_EQ(world.queue.position(*world.fetcher->cursor("t", 0)), 500);
}

TEST(FetcherPositionsTest, SeeksAtAnyMomentWithoutMixingPositions) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ConsumerWorld world(seed, {.fetch_bytes_max = 1000, .partition_fetch_bytes_max = 500});
    world.broker.create_topic("t", 1);
    for (int i = 0; i < 50; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
    ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
    sim::SimRandom random(seed);
    for (int n = 0; n < 10; ++n) {
      world.executor.run_for(std::chrono::microseconds(random.below(2000)));
      world.take();
      const auto target = static_cast<int>(random.below(500));
      ASSERT_TRUE(world.seek("t", 0, Position::offset(target)).has_value());
      world.values.clear();
      ASSERT_TRUE(world.take_until(1));
      const auto got = static_cast<int>(world.values.size());
      EXPECT_EQ(world.values, numbers(target, target + got));
    }
    EXPECT_THAT(world.errors, IsEmpty());
  }
}

TEST(FetcherPositionsTest, FindsPositionsByTimeInsideTheBatch) {
  ConsumerWorld world(7);
  world.broker.create_topic("t", 1);
  for (const wire::Codec codec : {wire::Codec::kNone, wire::Codec::kZstd}) {
    const std::int64_t base = codec == wire::Codec::kNone ? 1000 : 2000;
    world.broker.append("t", 0, numbers(0, 4), {base, base + 10, base + 20, base + 30}, codec);
  }
  const auto at = [&](std::int64_t time) { return world.resolve("t", Position::time(time)); };
  EXPECT_EQ(at(0)->offset, 0);
  EXPECT_EQ(at(1010)->offset, 1);
  EXPECT_EQ(at(1011)->offset, 2);
  EXPECT_EQ(at(1031)->offset, 4);
  EXPECT_EQ(at(2025)->offset, 7);
  EXPECT_EQ(at(2031)->offset, std::nullopt);
  EXPECT_EQ(at(2031)->end, 8);
}

TEST(FetcherPositionsTest, FindsPositionsByTimeBehindAStartInsideABatch) {
  ConsumerWorld world(23);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 5), {1000, 5000, 1010, 1020, 1030});
  for (int i = 0; i < 20; ++i) world.broker.append("t", 0, numbers(0, 1), {1040 + i});
  world.broker.append("t", 0, numbers(0, 2), {3000, 4000});
  world.broker.log("t", 0).trim(Offset(3));
  const auto at = [&](std::int64_t time) {
    const auto resolved = world.resolve("t", Position::time(time));
    EXPECT_TRUE(resolved.has_value()) << resolved.error().to_string();
    return resolved.value_or(ResolvedOffset{});
  };
  EXPECT_EQ(at(0).offset, 3) << "not what was trimmed";
  EXPECT_EQ(at(1025).offset, 4);
  EXPECT_EQ(at(3500).offset, 26) << "the batch promised 5000, which was trimmed";
  EXPECT_EQ(at(4500).offset, std::nullopt);
  EXPECT_EQ(at(4500).end, 27);
}

TEST(FetcherPositionsTest, FindsPositionsByDistance) {
  ConsumerWorld world(8);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 10; ++i) world.broker.append("t", 0, numbers(0, 10));
  world.broker.log("t", 0).trim(Offset(20));
  EXPECT_EQ(world.resolve("t", Position::start())->offset, 20);
  EXPECT_EQ(world.resolve("t", Position::start(5))->offset, 25);
  EXPECT_EQ(world.resolve("t", Position::end())->offset, 100);
  EXPECT_EQ(world.resolve("t", Position::end(30))->offset, 70);
  EXPECT_EQ(world.resolve("t", Position::end(500))->offset, 20);  // never below the start
}

TEST(FetcherPositionsTest, ReportsAnOffsetOutOfRangeAndWaitsForASeek) {
  ConsumerWorld world(9);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  world.broker.append("t", 0, numbers(10, 20));
  world.broker.log("t", 0).trim(Offset(10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::offset(3)}}).has_value());
  ASSERT_TRUE(world.take_error());
  EXPECT_EQ(world.errors[0].error.name, "OFFSET_OUT_OF_RANGE");
  EXPECT_EQ(world.errors[0].position, 3);
  world.executor.run_for(5s);
  world.take();
  EXPECT_THAT(world.values, IsEmpty());
  EXPECT_EQ(world.errors.size(), 1U);
  ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
  ASSERT_TRUE(world.take_until(10));
  EXPECT_EQ(world.values, numbers(10, 20));
}

TEST(FetcherPositionsTest, DoesNotStopAPartitionThatWasSoughtMeanwhile) {
  ConsumerWorld world(19);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  const auto useless = world.queue.pop(std::chrono::steady_clock::time_point::min());
  ASSERT_TRUE(useless.has_value());
  ASSERT_TRUE(world.seek("t", 0, Position::offset(5)).has_value());
  EXPECT_FALSE(world.fetcher->stop(*useless, 0));
  world.queue.finish(*useless);
  ASSERT_TRUE(world.take_until(5));
  EXPECT_EQ(world.values, numbers(5, 10));
  world.broker.append("t", 0, numbers(10, 20));
  world.executor.run_for(1s);
  const auto current = world.queue.pop(std::chrono::steady_clock::time_point::min());
  ASSERT_TRUE(current.has_value());
  EXPECT_TRUE(world.fetcher->stop(*current, 12));
  world.queue.finish(*current);
  world.broker.append("t", 0, numbers(20, 30));
  world.executor.run_for(1s);
  world.take();
  EXPECT_EQ(world.values.size(), 5U);
  EXPECT_EQ(world.queue.position(*world.fetcher->cursor("t", 0)), 12);
}

TEST(FetcherPositionsTest, RefusesToAssignWhatDoesNotExistAndKeepsWhatItHad) {
  ConsumerWorld world(14);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  const Result<> missing = world.assign({{"nowhere", 0, Position::start()}});
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), ErrorCode::kUnknownTopic);
  const Result<> beyond = world.assign({{"t", 1, Position::start()}});
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().code(), ErrorCode::kUnknownPartition);
  world.broker.append("t", 0, {"still read"});
  ASSERT_TRUE(world.take_until(1));
}

TEST(FetcherPositionsTest, AsksAgainBeforeItSaysThatAPartitionIsMissing) {
  ConsumerWorld world(20);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  ASSERT_TRUE(world.assign({}).has_value());
  world.broker.create_topic("t", 3);
  const Result<> assigned = world.assign({{"t", 2, Position::start()}});
  EXPECT_TRUE(assigned.has_value()) << assigned.error().to_string();
  const Result<> beyond = world.assign({{"t", 3, Position::start()}});
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().code(), ErrorCode::kUnknownPartition);
}

TEST(FetcherPositionsTest, TakesDistancesOfAnySizeButNotNegativeOnes) {
  ConsumerWorld world(26);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  world.broker.log("t", 0).trim(Offset(10));
  EXPECT_EQ(world.resolve("t", Position::start(INT64_MAX))->offset, INT64_MAX);
  EXPECT_EQ(world.resolve("t", Position::end(INT64_MAX))->offset, 10);
  for (const Position position : {Position::start(-1), Position::end(INT64_MIN)}) {
    const auto refused = world.resolve("t", position);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace tidelog::client_core
