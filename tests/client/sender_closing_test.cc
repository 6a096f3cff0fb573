// What becomes of records when the producer's core is closed, also in its own callbacks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Verdict = sim::ScriptedBroker::Verdict;

TEST(SenderClosingTest, MayBeClosedWhileItTellsOfTrouble) {
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

TEST(SenderClosingTest, MayBeClosedWhileItTellsOfOneOfTwoRefusals) {
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
  expect_honest(world);
  EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
}

TEST(SenderClosingTest, SettlesEverythingWhenAbandoned) {
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
  expect_honest(world);
  EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
}

// One partition's batch cannot be sent any more when another's is about to be; the callback of the
// first closes the producer. `close_at`: when the second is produced. Returns when the first
// failed.
SteadyTime close_in_a_callback(std::optional<SteadyTime> close_at, int extra_turns,
                               std::size_t& outcomes) {
  ProducerWorld world(24, {.linger = 0ms, .retry_unknown = true});
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
    return {.code = partition == 1 ? ErrorCode::kUnknownOutcome : ErrorCode::kOk};
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

TEST(SenderClosingTest, SettlesWhatWasAboutToBeSentWhenACallbackClosesIt) {
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

}  // namespace
}  // namespace tidelog::client_core
