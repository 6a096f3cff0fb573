// That fetches which wait for news hold nobody up: what is sought, left or paused is told at once,
// and fetch sessions that are left do not stay with the broker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/consumer_world.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;

TEST(FetcherCancelTest, SeeksAtOnceHoweverOftenAndLongItsFetchesWait) {
  for (const std::size_t prefetch : {std::size_t{1000}, std::size_t{32} * 1024 * 1024}) {
    ConsumerWorld world(1, {.prefetch_bytes_max = prefetch, .fetch_wait = 1h});
    world.broker.create_topic("t", 1);
    world.broker.append("t", 0, numbers(0, 10));
    ASSERT_TRUE(world.assign({{"t", 0, Position::end()}}).has_value());
    world.executor.run_for(1s);  // its fetches wait
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(world.seek("t", 0, Position::end()).has_value());
    const auto start = world.executor.clock().now();
    ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
    ASSERT_TRUE(world.take_until(10));
    EXPECT_LT(world.executor.clock().now() - start, 100ms);
    EXPECT_EQ(world.values, numbers(0, 10));
  }
}

TEST(FetcherCancelTest, SendsNoCancelWhileNothingIsHeldUp) {
  ConsumerWorld world(2);
  world.broker.create_topic("t", 2);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
  for (int i = 0; i < 100; ++i) {
    world.broker.append("t", i % 2, {std::to_string(i)});
    world.executor.run_for(10ms);
  }
  ASSERT_TRUE(world.take_until(100));
  ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
  world.executor.run_for(5s);
  EXPECT_EQ(world.broker.counts.cancels, 0);
}

// What was reserved for the answers of the partition that is left is free for the other one.
TEST(FetcherCancelTest, ReadsWhatIsAssignedNextWithoutWaitingForWhatWasBefore) {
  for (const bool pauses : {true, false}) {
    SCOPED_TRACE(pauses);
    ConsumerWorld world(3, {.prefetch_bytes_max = 64 * 1024, .fetch_wait = 1h});
    world.broker.settings.shards = 2;
    world.broker.create_topic("t", 2);
    world.broker.append("t", 1, {"next"});
    ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
    world.executor.run_for(1s);
    if (pauses) {
      ASSERT_TRUE(world.fetcher->pause("t", 0).has_value());
    }
    ASSERT_TRUE(world.assign({{"t", 1, Position::start()}}).has_value());
    const auto start = world.executor.clock().now();
    ASSERT_TRUE(world.take_until(1));
    EXPECT_LT(world.executor.clock().now() - start, 100ms);
    EXPECT_EQ(world.values, std::vector<std::string>{"next"});
  }
}

TEST(FetcherCancelTest, TakesNoAnswerWhileItIsPausedAndGoesOnThen) {
  ConsumerWorld world(4, {.fetch_wait = 1h});
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  for (int round = 0; round < 100; ++round) {  // a session each
    ASSERT_TRUE(world.fetcher->pause("t", 0).has_value());
    world.executor.run_for(10ms);
    const std::size_t answered = world.broker.fetch_bytes_answered;
    world.broker.append("t", 0, {std::to_string(round)});
    world.executor.run_for(10ms);
    EXPECT_EQ(world.broker.fetch_bytes_answered, answered);
    ASSERT_TRUE(world.fetcher->resume("t", 0).has_value());
    ASSERT_TRUE(world.take_until(static_cast<std::size_t>(round) + 1, 1s));
  }
  EXPECT_EQ(world.values, numbers(0, 100));
}

TEST(FetcherCancelTest, LeavesNoSessionBehindWhenFetchesAreRefused) {
  ConsumerWorld world(5);
  world.broker.create_topic("t", 1);
  int asked = 0;
  int refused = 0;
  world.broker.on_fetch_request = [&] {
    if (++asked % 3 != 0 || refused == 100) return ErrorCode::kOk;
    ++refused;
    return ErrorCode::kOverloaded;
  };
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.executor.run_until([&] { return refused == 100; }, 600s));
  world.broker.append("t", 0, {"behind it"});
  ASSERT_TRUE(world.take_until(1, 10s));
  EXPECT_EQ(world.network.connects(), 2U);
}

}  // namespace
}  // namespace tidelog::client_core
