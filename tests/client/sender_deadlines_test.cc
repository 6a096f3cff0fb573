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

}  // namespace
}  // namespace tidelog::client_core
