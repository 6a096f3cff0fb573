// What the producer's core promises when brokers refuse, vanish, or talk nonsense.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Verdict = sim::ScriptedBroker::Verdict;

TEST(SenderFaultsTest, KeepsOrderWhenBatchesAreRefused) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, {.linger = 0ms}, {.batch_bytes_max = 400});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      constexpr ErrorCode kCodes[] = {ErrorCode::kOverloaded, ErrorCode::kNotLeader,
                                      ErrorCode::kStorageFull, ErrorCode::kNotReady};
      if (random.one_in(4)) return {.code = kCodes[random.below(4)]};
      return {};
    };
    for (int i = 0; i < 200; ++i) {
      world.produce("t", std::to_string(i));
      if (random.one_in(10)) world.executor.run_for(300us);
    }
    ASSERT_TRUE(world.settle());
    expect_honest(world);
    EXPECT_FALSE(world.values_with("").empty());
  }
}

TEST(SenderFaultsTest, LosesNothingToRefusalsWithOneRequestInFlight) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, {.linger = 0ms, .in_flight_max = 1}, {.batch_bytes_max = 400});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      return random.one_in(3) ? Verdict{.code = ErrorCode::kOverloaded} : Verdict{};
    };
    for (int i = 0; i < 200; ++i) world.produce("t", std::to_string(i));
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  }
}

TEST(SenderFaultsTest, RetriesARefusalOfEverythingInFlightInOrder) {
  ProducerWorld world(3, {.linger = 0ms}, {.batch_bytes_max = 300});
  world.broker.create_topic("t", 1);
  bool refusing = true;
  world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
    return refusing ? Verdict{.code = ErrorCode::kNotLeader} : Verdict{};
  };
  for (int i = 0; i < 100; ++i) world.produce("t", std::to_string(i));
  world.executor.run_for(5s);
  EXPECT_TRUE(world.outcomes.empty());
  refusing = false;
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
}

TEST(SenderFaultsTest, ReportsLostConnectionsAsUnknownOutcome) {
  ProducerWorld world(4, {.linger = 0ms});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
    return {.code = ErrorCode::kInternal, .store = true, .cut = true};
  };
  world.produce("t", "cut");
  ASSERT_TRUE(world.settle());
  world.broker.on_produce = nullptr;
  world.produce("t", "last");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("cut")->error, "UNKNOWN_OUTCOME");
  EXPECT_THAT(world.outcome("cut")->message, HasSubstr("topic 't' partition 0"));
  EXPECT_TRUE(world.outcome("last")->ok);
  EXPECT_EQ(world.accumulator.statistics().records_unknown, 1U);
}

TEST(SenderFaultsTest, TreatsATimeoutThatTheBrokerReportsAsUnknownOutcome) {
  ProducerWorld world(5);
  world.broker.create_topic("t", 1);
  world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
    return {.code = ErrorCode::kTimedOut, .store = true};
  };
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcomes[0].error, "UNKNOWN_OUTCOME");
}

TEST(SenderFaultsTest, HoldsRecordsWhileTheBrokerIsGoneForAMinute) {
  ProducerWorld world(7);
  world.broker.create_topic("t", 2);
  world.produce("t", "before");
  ASSERT_TRUE(world.settle());
  world.broker.stop();
  for (int i = 0; i < 100; ++i) world.produce("t", std::to_string(i), i % 2);
  world.executor.run_for(60s);
  EXPECT_EQ(world.outcomes.size(), 1U);
  const std::uint64_t attempts = world.network.connects();
  EXPECT_LT(attempts, 100U);  // backing off, not hammering
  world.broker.start();
  ASSERT_TRUE(world.settle(10s));
  EXPECT_EQ(world.values_with("").size(), 101U);
  EXPECT_TRUE(is_subsequence(world.broker.log("t", 0).values(), world.produced));
  EXPECT_TRUE(is_subsequence(world.broker.log("t", 1).values(), world.produced));
}

TEST(SenderFaultsTest, StaysHonestUnderCutsAtAnyByte) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, {.linger = 1ms}, {.batch_bytes_max = 500});
    world.broker.create_topic("t", 1);
    world.network.cut_one_in(20);
    sim::SimRandom random(seed);
    for (int i = 0; i < 300; ++i) {
      world.produce("t", std::to_string(i));
      if (random.one_in(5)) world.executor.run_for(1ms);
    }
    ASSERT_TRUE(world.settle());
    expect_honest(world);
  }
}

TEST(SenderFaultsTest, SendsEverythingAtLeastOnceWhenUnknownOutcomesAreRetried) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, {.linger = 1ms, .retry_unknown = true}, {.batch_bytes_max = 500});
    world.broker.create_topic("t", 1);
    world.network.cut_one_in(25);
    for (int i = 0; i < 200; ++i) {
      world.produce("t", std::to_string(i));
      if (i % 7 == 0) world.executor.run_for(1ms);
    }
    ASSERT_TRUE(world.settle());
    const std::vector<std::string> log = world.broker.log("t", 0).values();
    // An acknowledged batch behind a lost one leaves that one unknown; all others are there.
    EXPECT_TRUE(is_subsequence(world.values_with(""), log));
    EXPECT_EQ(world.values_with("").size() + world.values_with("UNKNOWN_OUTCOME").size(), 200U);
    EXPECT_GT(world.values_with("").size(), 150U);
  }
}

TEST(SenderFaultsTest, MovesToANewConnectionWhenTheBrokerDrains) {
  ProducerWorld world(11, {.linger = 0ms});
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.broker.announce_draining();
  world.executor.run_for(10ms);
  world.produce("t", "b");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  EXPECT_EQ(world.network.connects(), 2U);
}

TEST(SenderFaultsTest, IgnoresAnswersToWhatHasNone) {
  ProducerWorld world(19, {.acks = AcksOnWire::kNone});
  world.broker.settings.answers_one_way = true;
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 10; ++i) {
    world.produce("t", std::to_string(i));
    ASSERT_TRUE(world.settle());
    world.executor.run_for(1s);
  }
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  EXPECT_EQ(world.network.connects(), 1U);
  EXPECT_TRUE(world.log_lines.empty());
}

TEST(SenderFaultsTest, NamesTheReasonThatTheBrokerGaveForClosing) {
  ProducerWorld world(12, {.linger = 0ms, .request_timeout = 5s});
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
    return {.code = ErrorCode::kInternal, .silent = true};
  };
  world.produce("t", "b");
  world.executor.run_for(100ms);
  world.broker.close_with_notice("the moon is full");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("b")->error, "UNKNOWN_OUTCOME");
  EXPECT_THAT(world.outcome("b")->message, HasSubstr("the moon is full"));
}

TEST(SenderFaultsTest, SendsElsewhereWhatWaitedOnAConnectionThatTheBrokerSpoiled) {
  ProducerWorld world(25, {.linger = 0ms});
  world.broker.settings.idle_timeout_ms = 3000;
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.broker.settings.ping_throttle_ms = 30'000;
  world.executor.run_for(1500ms);
  ASSERT_EQ(world.broker.counts.pings, 1);
  world.produce("t", "waits");  // in the connection, as long as the answer to the ping said
  world.executor.run_for(1s);
  EXPECT_EQ(world.broker.counts.produces, 1);
  world.broker.talk_nonsense();
  ASSERT_TRUE(world.settle());
  EXPECT_TRUE(world.outcome("waits")->ok) << world.outcome("waits")->error;
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  EXPECT_EQ(world.network.connects(), 2U);
}

TEST(SenderFaultsTest, SurvivesAHalfClosedConnection) {
  ProducerWorld world(13, {.linger = 0ms});
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.network.half_close(ProducerWorld::kPort);
  world.produce("t", "b");
  ASSERT_TRUE(world.settle());
  world.produce("t", "c");
  ASSERT_TRUE(world.settle());
  EXPECT_TRUE(world.outcome("c")->ok);
  expect_honest(world);
}

TEST(SenderFaultsTest, NeverSendsMoreThanTheBrokerAllowsAtOnce) {
  ProducerWorld world(15, {.linger = 0ms, .in_flight_max = 100}, {.batch_bytes_max = 300});
  world.broker.settings.requests_in_flight_max = 3;
  world.broker.create_topic("t", 1);
  world.network.set_delay(1ms, 2ms);
  for (int i = 0; i < 200; ++i) {
    world.produce("t", std::to_string(i));
    world.executor.run_for(50us);
  }
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
}

TEST(SenderFaultsTest, KeepsOrderWhenABrokerDrainsWhileRecordsAreOnTheirWay) {
  ProducerWorld world(20, {.linger = 0ms});
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.executor.run_for(1s);
  world.broker.announce_draining();
  world.network.set_delay(500ms, 500ms);
  world.produce("t", "slow");  // sent before the notice arrives
  world.executor.run_for(10us);
  world.network.set_delay(20us, 200us);
  world.executor.run_for(10ms);
  world.produce("t", "behind it");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.network.connects(), 2U);
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
}

TEST(SenderFaultsTest, TellsAtOnceThatAnotherClusterAnswers) {
  for (const bool idempotent : {true, false}) {
    for (const std::string topic : {"t", "new"}) {
      SCOPED_TRACE(testing::Message() << idempotent << topic);
      ProducerWorld world(27, {.linger = 0ms, .idempotent = idempotent});
      world.broker.create_topic("t", 1);
      world.produce("t", "before");
      ASSERT_TRUE(world.settle());
      world.broker.stop();
      world.executor.run_for(10ms);
      world.broker.settings.cluster = 43;
      world.broker.start();
      for (int i = 0; i < 5; ++i) world.produce(topic, std::to_string(i));
      ASSERT_TRUE(world.settle(5s));  // the delivery timeout is two minutes
      EXPECT_EQ(world.values_with("WRONG_CLUSTER").size(), 5U);
      EXPECT_THAT(world.outcome("0")->message, HasSubstr("another cluster"));
      world.produce(topic, "again");  // it is asked again each time
      ASSERT_TRUE(world.settle(5s));
      EXPECT_EQ(world.outcome("again")->error, "WRONG_CLUSTER");
      world.broker.stop();
      world.broker.settings.cluster = 42;
      world.broker.start();
      world.executor.run_for(3s);
      world.produce("t", "back");
      ASSERT_TRUE(world.settle(5s));
      EXPECT_TRUE(world.outcome("back")->ok);
      EXPECT_EQ(world.broker.log("t", 0).values(), (std::vector<std::string>{"before", "back"}));
    }
  }
}

TEST(SenderFaultsTest, TellsOfWhatWasOnItsWayThatNobodyKnowsWhenAnotherClusterAnswers) {
  ProducerWorld world(28, {.linger = 0ms, .idempotent = true});
  world.broker.create_topic("t", 1);
  world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
    return {.code = ErrorCode::kInternal, .store = true, .silent = true};
  };
  world.produce("t", "lost");
  world.executor.run_for(100ms);
  world.broker.stop();
  world.broker.settings.cluster = 43;
  world.broker.start();
  ASSERT_TRUE(world.settle(5s));
  EXPECT_EQ(world.outcome("lost")->error, "UNKNOWN_OUTCOME");
}

}  // namespace
}  // namespace tidelog::client_core
