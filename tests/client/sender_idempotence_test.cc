// What an idempotent producer promises: whatever happens on the way, each record is in the log
// once, in order, unless its result says otherwise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "client/producer/sequence.h"
#include "tests/client/sender_fixture.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Verdict = sim::ScriptedBroker::Verdict;

SenderOptions idempotent(SenderOptions options = {}) {
  options.idempotent = true;
  return options;
}

void expect_all_delivered(ProducerWorld& world) {
  expect_honest(world);
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  EXPECT_EQ(world.values_with("").size(), world.produced.size());
}

TEST(SenderIdempotenceTest, DeliversEverythingOnceWhateverIsCutWherever) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, idempotent({.linger = 1ms}), {.batch_bytes_max = 500});
    world.broker.create_topic("t", 1);
    world.network.cut_one_in(20);
    sim::SimRandom random(seed);
    for (int i = 0; i < 300; ++i) {
      world.produce("t", std::to_string(i));
      if (random.one_in(5)) world.executor.run_for(1ms);
    }
    ASSERT_TRUE(world.settle());
    expect_all_delivered(world);
  }
}

TEST(SenderIdempotenceTest, DeliversEverythingOnceWhenAnswersAreLost) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, idempotent({.linger = 0ms, .request_timeout = 1s}),
                        {.batch_bytes_max = 400});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      switch (random.below(8)) {
        case 0:
          return {.store = true, .cut = true};
        case 1:
          return {.store = random.one_in(2), .silent = true};
        case 2:
          return {.code = ErrorCode::kUnknownOutcome, .store = random.one_in(2)};
        case 3:
          return {.code = ErrorCode::kTimedOut, .store = random.one_in(2), .late = true};
        default:
          return {};
      }
    };
    for (int i = 0; i < 100; ++i) {
      world.produce("t", std::to_string(i));
      if (random.one_in(6)) world.executor.run_for(300us);
    }
    ASSERT_TRUE(world.settle());
    expect_all_delivered(world);
  }
}

TEST(SenderIdempotenceTest, LosesNothingToRefusalsOfSomeOfWhatIsInFlight) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, idempotent({.linger = 0ms, .in_flight_max = 20}),
                        {.batch_bytes_max = 400});
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
    expect_all_delivered(world);
  }
}

TEST(SenderIdempotenceTest, DeliversEverythingOnceOverRestartsOfTheBroker) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, idempotent({.linger = 1ms, .request_timeout = 2s}),
                        {.batch_bytes_max = 600});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    int number = 0;
    for (int life = 0; life < 6; ++life) {
      for (int i = 0; i < 60; ++i) {
        world.produce("t", std::to_string(number++));
        world.executor.run_for(std::chrono::microseconds(random.below(800)));
      }
      world.broker.stop();
      world.executor.run_for(std::chrono::milliseconds(random.below(3000)));
      world.broker.start();
    }
    ASSERT_TRUE(world.settle());
    expect_all_delivered(world);
    EXPECT_EQ(world.broker.counts.producer_ids, 1);
  }
}

TEST(SenderIdempotenceTest, GoesOnInANewEpochBehindWhatIsRefusedForGood) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed, idempotent({.linger = 0ms}), {.batch_bytes_max = 400});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    int refused = 0;
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      if (random.one_in(10)) {
        ++refused;
        return {.code = ErrorCode::kInvalidBatch};
      }
      if (random.one_in(10)) return {.store = true, .cut = true};
      return {};
    };
    for (int i = 0; i < 200; ++i) {
      world.produce("t", std::to_string(i));
      if (random.one_in(5)) world.executor.run_for(500us);
    }
    ASSERT_TRUE(world.settle());
    expect_honest(world);
    const std::size_t delivered = world.values_with("").size();
    EXPECT_GT(delivered, 50U);
    EXPECT_EQ(delivered < 200U, refused > 0);
    // A batch that was stored and whose answer was lost may be refused for good the next time.
    EXPECT_EQ(delivered + world.values_with("INVALID_BATCH").size() +
                  world.values_with("UNKNOWN_OUTCOME").size(),
              200U);
    world.broker.on_produce = nullptr;
    world.produce("t", "last");
    ASSERT_TRUE(world.settle());
    EXPECT_TRUE(world.outcome("last")->ok);
  }
}

TEST(SenderIdempotenceTest, TellsFailedFromUnknownOnlyWhenTheDeliveryTimeoutEnds) {
  for (const bool stored : {true, false}) {
    SCOPED_TRACE(stored);
    ProducerWorld world(
        3, idempotent({.linger = 0ms, .request_timeout = 500ms, .delivery_timeout = 3s}));
    world.broker.create_topic("t", 1);
    world.produce("t", "first");
    ASSERT_TRUE(world.settle());
    const auto start = world.executor.clock().now();
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      if (stored) return {.code = ErrorCode::kUnknownOutcome, .store = true};
      return {.code = ErrorCode::kUnknownOutcome};
    };
    world.produce("t", "lost");
    ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 2; }));
    EXPECT_GE(world.executor.clock().now() - start, 3s);
    EXPECT_EQ(world.outcome("lost")->error, "UNKNOWN_OUTCOME");
    world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
      return {.code = ErrorCode::kOverloaded};
    };
    world.produce("t", "refused");
    ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 3; }));
    EXPECT_EQ(world.outcome("refused")->error, "TIMED_OUT");
    world.broker.on_produce = nullptr;
    world.produce("t", "behind");
    ASSERT_TRUE(world.settle());
    EXPECT_TRUE(world.outcome("behind")->ok);
    expect_honest(world);
  }
}

TEST(SenderIdempotenceTest, StaysHonestWhenEverythingGoesWrongAndTimeRunsOut) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(seed,
                        idempotent({.pool = {.backoff_min = 5ms, .backoff_max = 50ms},
                                    .linger = 1ms,
                                    .request_timeout = 300ms,
                                    .delivery_timeout = 900ms,
                                    .in_flight_max = 8}),
                        {.batch_bytes_max = 400});
    world.broker.create_topic("t", 1);
    sim::SimRandom random(seed);
    world.network.cut_one_in(60);
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      switch (random.below(10)) {
        case 0:
          return {.store = true, .cut = true};
        case 1:
          return {.store = random.one_in(2), .silent = true};
        case 2:
          return {.code = ErrorCode::kOverloaded};
        case 3:
          return {.code = ErrorCode::kInvalidBatch};
        case 4:
          return {.code = ErrorCode::kUnknownOutcome, .store = random.one_in(2)};
        default:
          return {};
      }
    };
    for (int i = 0; i < 300; ++i) {
      world.produce("t", std::to_string(i));
      world.executor.run_for(std::chrono::microseconds(random.below(4000)));
      if (random.one_in(80)) {
        world.broker.stop();
        world.executor.run_for(std::chrono::milliseconds(random.below(1500)));
        world.broker.start();
      }
    }
    ASSERT_TRUE(world.settle());
    expect_honest(world);
    EXPECT_FALSE(world.values_with("").empty());
    world.broker.on_produce = nullptr;
    world.network.cut_one_in(0);
    world.executor.run_for(10ms);  // the last cuts
    world.produce("t", "last");
    ASSERT_TRUE(world.settle());
    EXPECT_TRUE(world.outcome("last")->ok) << world.outcome("last")->message;
  }
}

TEST(SenderIdempotenceTest, SurvivesABrokerThatForgotIt) {
  ProducerWorld world(5, idempotent({.linger = 0ms}));
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.broker.log("t", 0).forget_producers();
  world.produce("t", "b");
  ASSERT_TRUE(world.settle());
  expect_all_delivered(world);
}

TEST(SenderIdempotenceTest, ReportsWhatWasLostAsUnknownWhenTheBrokerForgotTheProducer) {
  ProducerWorld world(6, idempotent({.linger = 0ms}));
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
    return {.store = true, .cut = true};
  };
  world.produce("t", "b");
  world.executor.run_for(10ms);
  world.broker.on_produce = nullptr;
  world.broker.log("t", 0).forget_producers();
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("b")->error, "UNKNOWN_OUTCOME");
  world.produce("t", "c");
  ASSERT_TRUE(world.settle());
  EXPECT_THAT(world.broker.log("t", 0).values(), ElementsAre("a", "b", "c"));
}

TEST(SenderIdempotenceTest, TakesAnotherIdWhenItIsFenced) {
  ProducerWorld world(7, idempotent({.linger = 0ms}));
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  bool fenced = true;
  world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
    if (std::exchange(fenced, false)) return {.code = ErrorCode::kFencedProducer};
    return {};
  };
  world.produce("t", "b");
  ASSERT_TRUE(world.settle());
  expect_all_delivered(world);
  EXPECT_EQ(world.broker.counts.producer_ids, 2);
}

TEST(SenderIdempotenceTest, KeepsNoMoreUnsettledThanTheBrokerRemembers) {
  ProducerWorld world(8, idempotent({.linger = 0ms, .in_flight_max = 10'000}),
                      {.batch_bytes_max = 200});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());
  int asked = 0;
  world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
    ++asked;
    return {.store = true, .silent = true};
  };
  for (int i = 0; i < 600; ++i) world.produce("t", std::to_string(i) + std::string(120, 'x'));
  world.executor.run_for(100ms);
  EXPECT_EQ(asked, 256);
  world.broker.on_produce = nullptr;
  world.broker.stop();
  world.broker.start();
  ASSERT_TRUE(world.settle());
  expect_all_delivered(world);
}

TEST(SenderIdempotenceTest, WaitsForAnIdAndAsksAgainUntilItHasOne) {
  ProducerWorld world(9, idempotent());
  world.broker.settings.producer_ids_refused = 3;
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  expect_all_delivered(world);
  EXPECT_EQ(world.broker.counts.producer_ids, 4);
}

TEST(SenderIdempotenceTest, NamesTheMissingIdWhenTimeRunsOut) {
  ProducerWorld world(10, idempotent({.delivery_timeout = 2s}));
  world.broker.settings.producer_ids_refused = 1000;
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcomes[0].error, "TIMED_OUT");
  EXPECT_THAT(world.outcomes[0].message, HasSubstr("no producer id"));
}

TEST(SenderIdempotenceTest, CountsAnewForATopicThatWasMadeAgain) {
  ProducerWorld world(11, idempotent({.linger = 0ms}));
  world.broker.create_topic("t", 1);
  world.produce("t", "old");
  ASSERT_TRUE(world.settle());
  world.broker.delete_topic("t");
  world.broker.create_topic("t", 1);
  world.produce("t", "on its way");
  ASSERT_TRUE(world.settle());
  for (int i = 0; i < 3; ++i) {
    world.produce("t", std::to_string(i));
    ASSERT_TRUE(world.settle());
  }
  EXPECT_THAT(world.broker.log("t", 0).values(), ElementsAre("on its way", "0", "1", "2"));
  EXPECT_EQ(world.broker.counts.producer_ids, 1);
}

TEST(SenderIdempotenceTest, SplitsALostBatchThatBecameTooLargeWithoutWritingItTwice) {
  for (const bool stored : {true, false}) {
    SCOPED_TRACE(stored);
    ProducerWorld world(12, idempotent({.linger = 5ms}));
    world.broker.create_topic("t", 1);
    bool first = true;
    world.broker.on_produce = [&](const std::string&, std::int32_t) -> Verdict {
      if (std::exchange(first, false)) return {.store = stored, .cut = true};
      return {};
    };
    for (int i = 0; i < 40; ++i) world.produce("t", std::to_string(i) + std::string(100, 'x'));
    world.executor.run_for(8ms);
    ASSERT_FALSE(first);
    world.broker.settings.topic_batch_bytes_max = 1500;
    ASSERT_TRUE(world.settle());
    expect_all_delivered(world);
  }
}

TEST(PartitionSequenceTest, AsksForAnotherIdBehindTheLastEpoch) {
  PartitionSequence sequence;
  sequence.begin(ProducerId(5));
  EXPECT_EQ(sequence.take(3).base_sequence, 0);
  EXPECT_EQ(sequence.take(1).base_sequence, 3);
  for (int epoch = 1; epoch <= 32767; ++epoch) {
    ASSERT_TRUE(sequence.begin_epoch());
    ASSERT_EQ(sequence.take(1).producer_epoch, epoch);
  }
  EXPECT_FALSE(sequence.begin_epoch());
  EXPECT_FALSE(sequence.begun());
}

TEST(PartitionSequenceTest, GoesOnWithZeroBehindTheHighestSequence) {
  const BatchNumbers last{ProducerId(1), 0, 0x7ffffffe};
  EXPECT_EQ(behind(last, 2).base_sequence, 0);
  EXPECT_EQ(behind(last, 5).base_sequence, 3);
}

TEST(PartitionSequenceTest, RenumbersABatchAndNothingElse) {
  const TopicPartition id{TopicId{.bytes = {1, 2, 3}}, PartitionIndex(4)};
  const std::uint64_t seed = wire::batch_seed(id);
  BufferPool pool(0);
  const auto make = [&](const BatchNumbers& numbers) {
    wire::BatchBuilder builder;
    builder.add(1000, {.key = "k", .value = std::string_view("a value")});
    return *builder.finish(wire::Codec::kNone, seed, numbers, pool);
  };
  const BatchNumbers numbers{ProducerId(77), 3, 12};
  const SharedBytes renumbered = renumber(make({ProducerId(1), 0, 0}), numbers, seed, pool);
  const SharedBytes wanted = make(numbers);
  EXPECT_TRUE(std::ranges::equal(renumbered.bytes(), wanted.bytes()));
}

}  // namespace
}  // namespace tidelog::client_core
