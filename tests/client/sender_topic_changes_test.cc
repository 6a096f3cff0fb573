// What the producer's core does about topics that change under it: limits, deletion, partitions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Verdict = sim::ScriptedBroker::Verdict;

TEST(SenderTopicChangesTest, SendsInPartsWhatALoweredLimitRefuses) {
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

TEST(SenderTopicChangesTest, SplitsDownToTheRecordThatIsTooLarge) {
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
  expect_honest(world);
}

TEST(SenderTopicChangesTest, StaysHonestWhileTheLimitOfATopicChanges) {
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
    expect_honest(world);
    EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
  }
}

TEST(SenderTopicChangesTest, AsksLessAndLessOftenForATopicThatIsNotReady) {
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

TEST(SenderTopicChangesTest, SendsToATopicThatWasMadeAgain) {
  ProducerWorld world(10);
  world.broker.create_topic("t", 2);
  world.produce("t", "old");
  ASSERT_TRUE(world.settle());
  world.broker.delete_topic("t");
  world.broker.create_topic("t", 1);
  world.produce("t", "first behind");  // the client learns of it by this one
  ASSERT_TRUE(world.settle());
  world.produce("t", "new");
  ASSERT_TRUE(world.settle());
  EXPECT_THAT(world.broker.log("t", 0).values(), ElementsAre("first behind", "new"));
  EXPECT_EQ(world.values_with("").size(), 3U);
}

TEST(SenderTopicChangesTest, SendsToATopicThatWasMadeAgainWhatTheOldOneCertainlyHasNot) {
  for (const wire::Codec codec : {wire::Codec::kNone, wire::Codec::kZstd}) {
    ProducerWorld world(12, {.compression = codec, .linger = 0ms, .idempotent = true},
                        {.batch_bytes_max = 400});
    world.broker.create_topic("t", 1);
    world.produce("t", "old");
    ASSERT_TRUE(world.settle());
    world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
      return {.store = true, .silent = true};
    };
    world.produce("t", "lost");
    world.executor.run_for(10ms);
    world.broker.on_produce = [](const std::string&, std::int32_t) -> Verdict {
      return {.code = ErrorCode::kOverloaded};
    };
    std::vector<std::string> behind;
    for (int i = 0; i < 30; ++i) {
      behind.push_back(std::to_string(i) + std::string(60, 'x'));
      world.produce("t", behind.back());
    }
    world.executor.run_for(10ms);
    world.broker.on_produce = nullptr;
    world.broker.stop();
    world.broker.delete_topic("t");
    world.broker.create_topic("t", 1);
    world.broker.start();
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.outcome("lost")->error, "UNKNOWN_OUTCOME");
    EXPECT_THAT(world.outcome("lost")->message, HasSubstr("made again"));
    EXPECT_EQ(world.broker.log("t", 0).values(), behind);
    world.produce("t", "last");
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.outcome("last")->offset, 30);
    EXPECT_EQ(world.broker.counts.producer_ids, 1);
  }
}

TEST(SenderTopicChangesTest, UsesPartitionsThatWereAddedOnceItsMetadataIsOld) {
  ProducerWorld world(14, {.linger = 0ms, .metadata_max_age = 60s});
  world.broker.create_topic("t", 1);
  world.produce("t", "before");
  ASSERT_TRUE(world.settle());
  world.broker.add_partitions("t", 3);
  world.executor.run_for(59s);
  world.produce("t", "too early", 2);
  world.executor.run_for(1s);
  EXPECT_EQ(world.outcome("too early")->error, "UNKNOWN_PARTITION");
  world.executor.run_for(1s);
  world.produce("t", "there now", 2);
  ASSERT_TRUE(world.settle());
  EXPECT_THAT(world.broker.log("t", 2).values(), ElementsAre("there now"));
}

TEST(SenderTopicChangesTest, FailsEverythingQueuedOnceItsTopicIsDeleted) {
  ProducerWorld world(11);
  world.broker.create_topic("t", 1);
  world.produce("t", "kept");
  ASSERT_TRUE(world.settle());
  world.broker.delete_topic("t");
  for (int i = 0; i < 100; ++i) world.produce("t", std::to_string(i));
  ASSERT_TRUE(world.settle(10s));
  EXPECT_EQ(world.values_with("UNKNOWN_TOPIC").size(), 100U);
}

}  // namespace
}  // namespace tidelog::client_core
