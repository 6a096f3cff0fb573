// What the producer's core promises when brokers refuse, vanish, or say nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Verdict = sim::ScriptedBroker::Verdict;

// What must hold whatever happened: each record settled once; acknowledged ones are in the log, in
// the order produced; failed ones are not; nothing is there that was not produced, or twice.
void expect_honest(const ProducerWorld& world, const std::vector<std::string>& log) {
  EXPECT_EQ(world.outcomes.size(), world.produced.size());
  const std::set<std::string> unique(log.begin(), log.end());
  EXPECT_EQ(unique.size(), log.size()) << "a record is in the log twice";
  EXPECT_TRUE(is_subsequence(log, world.produced)) << "the log is out of order";
  EXPECT_TRUE(is_subsequence(world.values_with(""), log)) << "an acknowledged record is missing";
  for (const auto& outcome : world.outcomes) {
    if (outcome.ok || outcome.error == "UNKNOWN_OUTCOME") continue;
    EXPECT_FALSE(unique.contains(outcome.value))
        << outcome.value << " is in the log, but was reported as " << outcome.error;
  }
}

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
    expect_honest(world, world.broker.log("t", 0).values());
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

TEST(SenderFaultsTest, GivesUpOnABrokerThatSaysNothing) {
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
  expect_honest(world, [&] {
    std::vector<std::string> all = world.produced;  // two logs: order per partition
    return all;
  }());
  EXPECT_TRUE(is_subsequence(world.broker.log("t", 0).values(), world.produced));
  EXPECT_TRUE(is_subsequence(world.broker.log("t", 1).values(), world.produced));
}

TEST(SenderFaultsTest, FailsRecordsThatWereNeverSentWithinTheirDeliveryTimeout) {
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
    expect_honest(world, world.broker.log("t", 0).values());
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

TEST(SenderFaultsTest, NeverReportsWhatMayBeStoredAsFailed) {
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

TEST(SenderFaultsTest, LearnsTheFateOfTheOthersWhenOnePartitionIsLate) {
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

TEST(SenderFaultsTest, MayBeClosedWhileItTellsOfTrouble) {
  for (const bool drains : {true, false}) {
    ProducerWorld world(18, {.linger = 0ms});
    world.broker.create_topic("t", 1);
    world.on_log = [&](const std::string&) { world.sender->abandon(); };
    if (drains) {
      world.produce("t", "a");
      ASSERT_TRUE(world.settle());
      world.broker.announce_draining();
    } else {
      world.broker.stop();
      world.produce("t", "a");
    }
    world.executor.run_for(60s);
    EXPECT_EQ(world.log_lines.size(), 1U);
    EXPECT_EQ(world.network.connects(), 1U);  // and none is opened anew
  }
}

TEST(SenderFaultsTest, MayBeClosedWhileItTellsOfOneOfTwoRefusals) {
  ProducerWorld world(26, {.linger = 0ms, .in_flight_max = 2}, {.batch_bytes_max = 400});
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.broker.settings.topic_batch_bytes_max = 200;
  world.on_log = [&](const std::string&) { world.sender->abandon(); };
  for (int i = 0; i < 8; ++i) world.produce("t", std::to_string(i) + std::string(100, 'x'));
  world.executor.run_for(1s);
  EXPECT_GE(world.broker.counts.produces, 3);  // two of them were under way
  ASSERT_EQ(world.log_lines.size(), 1U);
  EXPECT_THAT(world.log_lines[0], HasSubstr("in parts"));
  EXPECT_EQ(world.outcomes.size(), 9U);
  expect_honest(world, world.broker.log("t", 0).values());
  EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
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
  expect_honest(world, world.broker.log("t", 0).values());
}

TEST(SenderFaultsTest, SettlesEverythingWhenAbandoned) {
  ProducerWorld world(14, {.linger = 0ms, .in_flight_max = 2}, {.batch_bytes_max = 300});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
    return {.code = ErrorCode::kInternal, .store = true, .silent = true};
  };
  for (int i = 0; i < 50; ++i) world.produce("t", std::to_string(i));
  world.produce("unheard of", "waiting");
  world.executor.run_for(300us);
  world.accumulator.close();
  world.sender->abandon();
  EXPECT_EQ(world.outcomes.size(), 52U);  // at once, not later
  EXPECT_FALSE(world.values_with("UNKNOWN_OUTCOME").empty());
  EXPECT_FALSE(world.values_with("CANCELLED").empty());
  EXPECT_EQ(world.outcome("waiting")->error, "CANCELLED");
  expect_honest(world, world.broker.log("t", 0).values());
  EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
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

TEST(SenderFaultsTest, SendsInPartsWhatALoweredLimitRefuses) {
  for (const wire::Codec codec : {wire::Codec::kNone, wire::Codec::kZstd}) {
    ProducerWorld world(21, {.compression = codec, .linger = 5ms}, {.batch_bytes_max = 20'000});
    world.broker.create_topic("t", 1);
    world.produce("t", "before");
    ASSERT_TRUE(world.settle());
    world.broker.settings.topic_batch_bytes_max = 600;
    sim::SimRandom random(7);
    for (int i = 0; i < 300; ++i) {
      std::string value = std::to_string(i) + " ";
      while (value.size() < 200) value += std::to_string(random.next());
      world.produce("t", value);
    }
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.values_with("").size(), 301U);
    EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
    EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
    EXPECT_EQ(world.accumulator.statistics().records_acknowledged, 301U);
    std::size_t payload = 0;
    for (const std::string& value : world.produced) payload += value.size();
    EXPECT_EQ(world.accumulator.statistics().bytes_acknowledged, payload);
    const auto* last = world.outcome(world.produced.back());
    EXPECT_EQ(last->offset, 300);
  }
}

TEST(SenderFaultsTest, SplitsDownToTheRecordThatIsTooLarge) {
  ProducerWorld world(22, {.linger = 5ms});
  world.broker.create_topic("t", 1);
  world.produce("t", "before");
  ASSERT_TRUE(world.settle());
  world.broker.settings.topic_batch_bytes_max = 600;
  for (int i = 0; i < 10; ++i) world.produce("t", std::to_string(i));
  world.produce("t", std::string(1000, 'x'));
  for (int i = 10; i < 20; ++i) world.produce("t", std::to_string(i));
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome(std::string(1000, 'x'))->error, "BATCH_TOO_LARGE");
  EXPECT_EQ(world.values_with("").size(), 21U);
  expect_honest(world, world.broker.log("t", 0).values());
}

TEST(SenderFaultsTest, StaysHonestWhileTheLimitOfATopicChanges) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, {.linger = 1ms, .retry_unknown = seed % 2 == 0},
                        {.batch_bytes_max = 4000});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    for (int i = 0; i < 300; ++i) {
      world.produce("t", std::to_string(i) + std::string(random.below(300), 'x'));
      if (random.one_in(20)) {
        world.broker.settings.topic_batch_bytes_max =
            static_cast<std::uint32_t>(random.between(500, 5000));
      }
      if (random.one_in(5)) world.executor.run_for(1ms);
    }
    ASSERT_TRUE(world.settle());
    expect_honest(world, world.broker.log("t", 0).values());
    EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
  }
}

TEST(SenderFaultsTest, AsksLessAndLessOftenForATopicThatIsNotReady) {
  ProducerWorld world(23);
  world.broker.create_topic("t", 1);
  world.broker.on_metadata = [](const std::string&) { return ErrorCode::kNotReady; };
  world.produce("t", "a");
  world.executor.run_for(60s);
  EXPECT_GT(world.broker.counts.metadata, 20);
  EXPECT_LT(world.broker.counts.metadata, 80);
  world.broker.on_metadata = nullptr;
  ASSERT_TRUE(world.settle(5s));
  EXPECT_TRUE(world.outcome("a")->ok);
}

// One partition's batch cannot be sent any more when another's is about to be; the callback of the
// first closes the producer. `close_at`: when the second is produced. Returns when the first
// failed.
SteadyTime close_in_a_callback(std::optional<SteadyTime> close_at, int extra_turns,
                               std::size_t& outcomes) {
  ProducerWorld world(24, {.linger = 0ms});
  world.broker.create_topic("t", 2);
  world.produce("t", "known", 0);
  EXPECT_TRUE(world.settle());
  SteadyTime failed_at{};
  client::Record record;
  record.topic = "t";
  record.value = "of the topic that is gone";
  record.partition = 1;
  RecordCallback callback = [&](const client::Result<client::Delivery>& delivery) {
    EXPECT_FALSE(delivery.ok());
    failed_at = world.executor.clock().now();
    ++outcomes;
    world.accumulator.close();
    world.sender->abandon();
  };
  world.broker.on_produce = [](const std::string&, std::int32_t partition) -> Verdict {
    return {.code = partition == 1 ? ErrorCode::kNotLeader : ErrorCode::kOk};
  };
  EXPECT_TRUE(*world.accumulator.add(record, callback));
  if (close_at) {
    world.executor.run_after(*close_at - world.executor.clock().now(),
                             [&] { world.produce("t", "sent in the same turn", 0); });
  }
  world.executor.run_for(5ms);
  world.broker.delete_topic("t");
  world.broker.create_topic("t", 2);
  for (int i = 0; i < extra_turns; ++i) world.sender->pump();
  world.executor.run_for(10s);
  outcomes += world.outcomes.size() - 1;  // all but "known"
  return failed_at;
}

TEST(SenderFaultsTest, SettlesWhatWasAboutToBeSentWhenACallbackClosesIt) {
  for (int extra_turns = 0; extra_turns < 4; ++extra_turns) {
    SCOPED_TRACE(extra_turns);
    std::size_t outcomes = 0;
    const SteadyTime at = close_in_a_callback(std::nullopt, extra_turns, outcomes);
    ASSERT_EQ(outcomes, 1U);
    outcomes = 0;
    EXPECT_EQ(close_in_a_callback(at, extra_turns, outcomes), at);
    EXPECT_EQ(outcomes, 2U);
  }
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
