// How long the producer's core takes to tell what became of a record, and what it says then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Verdict = sim::ScriptedBroker::Verdict;

TEST(SenderDeadlinesTest, GivesUpOnABrokerThatSaysNothing) {
  ProducerWorld world(6, {.request_timeout = 2s});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  world.network.silence(ProducerWorld::kPort, true);
  const auto start = world.executor.clock().now();
  world.produce("t", "into the void");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("into the void")->error, "UNKNOWN_OUTCOME");
  EXPECT_LT(world.executor.clock().now() - start, 2500ms);
  world.produce("t", "waits");
  world.executor.run_for(10s);
  world.network.silence(ProducerWorld::kPort, false);
  ASSERT_TRUE(world.settle());
  EXPECT_TRUE(world.outcome("waits")->ok);
}

TEST(SenderDeadlinesTest, FailsRecordsThatWereNeverSentWithinTheirDeliveryTimeout) {
  ProducerWorld world(8, {.delivery_timeout = 3s});
  world.broker.create_topic("t", 1);
  world.produce("t", "known topic");
  ASSERT_TRUE(world.settle());
  world.broker.stop();
  world.executor.run_for(10ms);  // the client hears of it
  const auto start = world.executor.clock().now();
  world.produce("t", "a");
  world.produce("other", "b");
  ASSERT_TRUE(world.settle(10s));
  EXPECT_EQ(world.outcome("a")->error, "TIMED_OUT");
  EXPECT_EQ(world.outcome("b")->error, "TIMED_OUT");
  EXPECT_THAT(world.outcome("a")->message, HasSubstr("refused"));
  EXPECT_GE(world.executor.clock().now() - start, 3s);
  EXPECT_LT(world.executor.clock().now() - start, 4s);
}

TEST(SenderDeadlinesTest, NeverReportsWhatMayBeStoredAsFailed) {
  for (const ErrorCode then : {ErrorCode::kInvalidBatch, ErrorCode::kOverloaded}) {
    ProducerWorld world(16, {.delivery_timeout = 3s, .retry_unknown = true});
    world.broker.create_topic("t", 1);
    int asked = 0;
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      if (asked++ == 0) return {.code = ErrorCode::kInternal, .store = true, .cut = true};
      return {.code = then};  // for good, or until the delivery timeout
    };
    world.produce("t", "a");
    ASSERT_TRUE(world.settle(20s));
    EXPECT_GE(asked, 2);
    EXPECT_EQ(world.outcomes[0].error, "UNKNOWN_OUTCOME");
    EXPECT_EQ(world.accumulator.statistics().records_unknown, 1U);
    EXPECT_EQ(world.accumulator.statistics().records_failed, 0U);
  }
}

TEST(SenderDeadlinesTest, LearnsTheFateOfTheOthersWhenOnePartitionIsLate) {
  ProducerWorld world(17, {.request_timeout = 4s});
  world.broker.create_topic("t", 2);
  world.broker.on_produce = [](const std::string&, std::int32_t partition) -> Verdict {
    if (partition == 1) return {};
    return {.code = ErrorCode::kTimedOut, .late = true};
  };
  world.produce("t", "late", 0);
  world.produce("t", "stored", 1);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.counts.produces, 1);
  EXPECT_EQ(world.outcome("late")->error, "UNKNOWN_OUTCOME");
  EXPECT_TRUE(world.outcome("stored")->ok);
  EXPECT_EQ(world.network.connects(), 1U);
}

TEST(SenderDeadlinesTest, LooksOnlyAtPartitionsWhoseRecordsWaitedTooLong) {
  constexpr std::int32_t kPartitions = 300;
  ProducerWorld world(4, {.linger = 0ms, .delivery_timeout = 20s});
  world.broker.create_topic("t", kPartitions);
  world.produce("t", "first", 0);
  ASSERT_TRUE(world.settle());
  world.broker.stop();
  world.executor.run_for(1s);  // what is sent before that is noticed is none of these
  const std::uint64_t looks = world.sender->expiry_looks();
  for (std::int32_t index = 0; index < kPartitions; ++index) {
    world.produce("t", "v" + std::to_string(index), index);
    world.executor.run_for(20ms);
  }
  const auto start = world.executor.clock().now();
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.values_with("TIMED_OUT").size(), static_cast<std::size_t>(kPartitions));
  EXPECT_LE(world.executor.clock().now() - start, 20s);
  // Partition 0 once more, for what it had before.
  EXPECT_LE(world.sender->expiry_looks() - looks, static_cast<std::uint64_t>(kPartitions) + 1);
}

// The broker answers nothing any more, neither the first time nor when it is asked again.
TEST(SenderDeadlinesTest, TellsWithinTheDeliveryTimeoutOfWhatASilentBrokerHas) {
  for (const bool idempotent : {true, false}) {
    for (const auto timeout : {500ms, 3000ms, 40'000ms}) {
      SCOPED_TRACE(testing::Message() << idempotent << " " << timeout.count());
      ProducerWorld world(1, {.delivery_timeout = timeout, .idempotent = idempotent});
      world.broker.create_topic("t", 1);
      world.produce("t", "first");
      ASSERT_TRUE(world.settle());
      world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
        return {.store = true, .silent = true};
      };
      const auto start = world.executor.clock().now();
      world.produce("t", "lost");
      world.executor.run_for(100ms);
      world.network.silence(ProducerWorld::kPort, true);
      ASSERT_TRUE(world.settle());
      EXPECT_EQ(world.outcome("lost")->error, "UNKNOWN_OUTCOME");
      EXPECT_LE(world.executor.clock().now() - start, std::max(timeout, 1000ms) + 5ms);
      world.network.silence(ProducerWorld::kPort, false);
      world.broker.on_produce = nullptr;
      world.executor.run_for(10s);
      world.produce("t", "behind");
      ASSERT_TRUE(world.settle());
      EXPECT_TRUE(world.outcome("behind")->ok) << world.outcome("behind")->message;
      expect_honest(world);
    }
  }
}

TEST(SenderDeadlinesTest, FreesAFullBufferWithinTheDeliveryTimeout) {
  ProducerWorld world(2, {.linger = 0ms, .delivery_timeout = 3s, .idempotent = true},
                      {.batch_bytes_max = 1000, .buffer_bytes_max = 20'000});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  world.network.silence(ProducerWorld::kPort, true);
  int accepted = 0;
  for (; world.produce("t", std::to_string(accepted) + std::string(100, 'x')); ++accepted) {
    world.executor.run_for(20ms);  // some are on their way, more wait behind them
  }
  ASSERT_GT(accepted, 20);
  const auto full = world.executor.clock().now();
  ASSERT_TRUE(world.executor.run_until(
      [&] { return world.accumulator.statistics().buffered_bytes < 10'000; }));
  EXPECT_LE(world.executor.clock().now() - full, 3s + 5ms);
  ASSERT_TRUE(world.settle());
  EXPECT_LE(world.executor.clock().now() - full, 3s + 5ms);
  expect_honest(world);
}

TEST(SenderDeadlinesTest, TellsOfWhatWasRefusedWhileWhatFollowsItIsOnItsWay) {
  ProducerWorld world(3, {.linger = 0ms, .delivery_timeout = 10s, .idempotent = true});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  int asked = 0;
  world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
    if (++asked == 1) return {.code = ErrorCode::kOverloaded, .late = true};
    return {.silent = true};
  };
  const auto start = world.executor.clock().now();
  world.produce("t", "refused");
  world.executor.run_for(4s);
  world.produce("t", "no answer");
  ASSERT_TRUE(world.executor.run_until([&] { return world.outcome("refused") != nullptr; }));
  EXPECT_LE(world.executor.clock().now() - start, 11s);
  ASSERT_TRUE(world.settle());
  EXPECT_LE(world.executor.clock().now() - start, 15s);
  expect_honest(world);
}

TEST(SenderDeadlinesTest, TellsInTimeOfWhatNobodyTakes) {
  ProducerWorld world(4, {.acks = AcksOnWire::kNone, .delivery_timeout = 3s});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  world.network.stall_sends(ProducerWorld::kPort);
  world.produce("t", "stuck");
  ASSERT_TRUE(world.settle(4s));
  EXPECT_EQ(world.outcome("stuck")->error, "UNKNOWN_OUTCOME");
  EXPECT_THAT(world.outcome("stuck")->message, HasSubstr("did not take a produce request"));
}

// The short deadline of what is nearly given up is not that of what has all its time.
TEST(SenderDeadlinesTest, LeavesARequestItsTimeWhateverElseIsInAHurry) {
  ProducerWorld world(5, {.pool = {.backoff_max = 100ms},
                          .linger = 0ms,
                          .request_timeout = 4s,
                          .delivery_timeout = 10s});
  world.broker.create_topic("t", 2);
  world.produce("t", "known", 0);
  ASSERT_TRUE(world.settle());
  world.broker.stop();
  world.produce("t", "old", 0);
  world.executor.run_for(9s);
  world.produce("t", "new", 1);
  world.executor.run_for(200ms);
  world.broker.on_produce = [](const std::string&, std::int32_t partition) -> Verdict {
    return {.code = partition == 0 ? ErrorCode::kTimedOut : ErrorCode::kOk, .late = true};
  };
  world.broker.start();
  const auto start = world.executor.clock().now();
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("old")->error, "UNKNOWN_OUTCOME");
  EXPECT_TRUE(world.outcome("new")->ok);
  EXPECT_GE(world.executor.clock().now() - start, 3s);  // as long as the broker may take
}

}  // namespace
}  // namespace tidelog::client_core
