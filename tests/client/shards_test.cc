// How clients use a broker's shards: each partition's requests go over the connection of its shard,
// and whatever that connection does, nothing is lost, doubled or reordered.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/consumer_world.h"
#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::ElementsAre;
using testing::Pair;
using testing::SizeIs;

// Every partition from its start.
std::vector<client::Assignment> all(std::int32_t partitions) {
  std::vector<client::Assignment> assignments;
  for (std::int32_t i = 0; i < partitions; ++i) assignments.push_back({"t", i, Position::start()});
  return assignments;
}

// One record to each partition, from `from` on; values tell them apart.
void produce_round(ProducerWorld& world, std::int32_t partitions, const std::string& round) {
  for (std::int32_t i = 0; i < partitions; ++i) {
    world.produce("t", round + "-" + std::to_string(i), i);
  }
}

void append_round(ConsumerWorld& world, std::int32_t partitions, const std::string& round) {
  for (std::int32_t i = 0; i < partitions; ++i) {
    world.broker.append("t", i, {round + "-" + std::to_string(i)});
  }
}

TEST(ShardsTest, AreEachSentTheirPartitionsOverAConnectionOfTheirOwn) {
  ProducerWorld world(1);
  world.broker.settings.shards = 2;
  world.broker.create_topic("t", 4);
  for (int i = 0; i < 100; ++i) world.produce("t", std::to_string(i), i % 4);
  ASSERT_TRUE(world.settle());
  EXPECT_THAT(world.values_with(""), SizeIs(100));
  EXPECT_EQ(world.broker.counts.batches_elsewhere, 0);
  EXPECT_THAT(world.broker.connections(), ElementsAre(Pair(0, 1), Pair(1, 1)));
  EXPECT_EQ(world.network.connects(), 2U);  // the first one is used, too
}

TEST(ShardsTest, AreEachReadOverAConnectionOfTheirOwn) {
  ConsumerWorld world(2);
  world.broker.settings.shards = 2;
  world.broker.create_topic("t", 4);
  append_round(world, 4, "a");
  ASSERT_TRUE(world.assign(all(4)).has_value());
  ASSERT_TRUE(world.take_until(4));
  append_round(world, 4, "b");
  ASSERT_TRUE(world.take_until(8));
  EXPECT_EQ(world.broker.counts.partitions_elsewhere, 0);
  EXPECT_EQ(world.network.connects(), 3U);  // and one for control
}

TEST(ShardsTest, ShareConnectionsBeyondSixteen) {
  ProducerWorld world(3);
  world.broker.settings.shards = 40;
  world.broker.create_topic("t", 80);
  produce_round(world, 80, "a");
  ASSERT_TRUE(world.settle());
  EXPECT_THAT(world.values_with(""), SizeIs(80));
  EXPECT_THAT(world.broker.connections(), SizeIs(16));
  EXPECT_EQ(world.network.connects(), 16U);
  ConsumerWorld reader(3);
  reader.broker.settings.shards = 40;
  reader.broker.create_topic("t", 80);
  append_round(reader, 80, "a");
  ASSERT_TRUE(reader.assign(all(80)).has_value());
  ASSERT_TRUE(reader.take_until(80));
  EXPECT_EQ(reader.network.connects(), 17U);
}

TEST(ShardsTest, NeedNotBeThoseThatWereAskedFor) {
  ProducerWorld world(4);
  world.broker.settings.shards = 4;
  world.broker.settings.moves_connections = false;
  world.broker.create_topic("t", 8);
  for (int round = 0; round < 60; ++round) {
    produce_round(world, 8, std::to_string(round));
    ASSERT_TRUE(world.settle());
    world.executor.run_for(1s);
  }
  EXPECT_THAT(world.values_with(""), SizeIs(480));
  EXPECT_EQ(world.network.connects(), 4U);  // and none is opened anew in search of a better one
}

TEST(ShardsTest, ShareAConnectionWhereTheBrokerHasNoMore) {
  ProducerWorld world(5, {.linger = 0ms, .idempotent = true});
  world.broker.settings.shards = 4;
  world.broker.settings.connections_max = 1;
  world.broker.create_topic("t", 8);
  for (int round = 0; round < 120; ++round) {
    produce_round(world, 8, std::to_string(round));
    ASSERT_TRUE(world.settle(2s));
    world.executor.run_for(1s);
  }
  EXPECT_EQ(world.outcomes.size(), world.values_with("").size());
  EXPECT_LE(world.broker.counts.refused_connections, 3 * 5);  // asked for again now and then
  EXPECT_GE(world.broker.counts.refused_connections, 3 * 3);
  world.broker.settings.connections_max = 100;
  world.executor.run_for(35s);
  produce_round(world, 8, "own");  // which opens them
  ASSERT_TRUE(world.settle(2s));
  world.executor.run_for(100ms);
  world.broker.counts.batches_elsewhere = 0;
  produce_round(world, 8, "after");
  ASSERT_TRUE(world.settle(2s));
  EXPECT_EQ(world.broker.counts.batches_elsewhere, 0);
  EXPECT_THAT(world.broker.connections(), SizeIs(4));
}

TEST(ShardsTest, AreReadOverASharedConnectionWhereTheBrokerHasNoMore) {
  ConsumerWorld world(6);
  world.broker.settings.shards = 4;
  world.broker.settings.connections_max = 2;  // control, and one for all fetches
  world.broker.create_topic("t", 8);
  ASSERT_TRUE(world.assign(all(8)).has_value());
  world.executor.run_for(1s);
  std::size_t expected = 0;
  for (int round = 0; round < 100; ++round) {
    append_round(world, 8, std::to_string(round));
    expected += 8;
    ASSERT_TRUE(world.take_until(expected, 2s)) << round;
    world.executor.run_for(1s);
    // Sessions of connections that are left are closed there, or these would soon be too many.
    if (round == 50) world.broker.settings.connections_max = 100;
  }
  EXPECT_EQ(world.values.size(), expected);
  EXPECT_EQ(world.network.open_connections(ConsumerWorld::kPort), 5U);
  EXPECT_TRUE(world.errors.empty());
}

TEST(ShardsTest, AreFollowedWhenTheBrokerComesBackWithOthers) {
  for (const auto& [before, after] : {std::pair{4, 2}, std::pair{2, 4}, std::pair{3, 1}}) {
    for (const bool busy : {true, false}) {
      SCOPED_TRACE(testing::Message() << before << " " << after << " " << busy);
      ProducerWorld world(7, {.linger = 0ms, .idempotent = true});
      world.broker.settings.shards = before;
      world.broker.create_topic("t", 8);
      produce_round(world, 8, "before");
      ASSERT_TRUE(world.settle());
      if (busy) produce_round(world, 8, "during");
      world.executor.run_for(100us);
      world.broker.stop();
      world.executor.run_for(300ms);
      world.broker.settings.shards = after;
      world.broker.start();
      world.executor.run_for(3s);
      produce_round(world, 8, "first");  // perhaps still over what was known
      ASSERT_TRUE(world.settle(5s));
      world.executor.run_for(1s);
      produce_round(world, 8, "second");
      ASSERT_TRUE(world.settle(5s));
      world.broker.counts.batches_elsewhere = 0;
      produce_round(world, 8, "third");
      ASSERT_TRUE(world.settle(5s));
      EXPECT_EQ(world.broker.counts.batches_elsewhere, 0);
      EXPECT_THAT(world.broker.connections(), SizeIs(after));
      EXPECT_EQ(world.values_with("").size(), world.produced.size());
    }
  }
}

TEST(ShardsTest, AreReadWhereTheyAreWhenTheBrokerComesBackWithOthers) {
  for (const auto& [before, after] : {std::pair{4, 2}, std::pair{2, 4}}) {
    SCOPED_TRACE(after);
    ConsumerWorld world(8);
    world.broker.settings.shards = before;
    world.broker.create_topic("t", 8);
    ASSERT_TRUE(world.assign(all(8)).has_value());
    append_round(world, 8, "before");
    ASSERT_TRUE(world.take_until(8));
    world.broker.stop();
    world.executor.run_for(300ms);
    world.broker.settings.shards = after;
    world.broker.start();
    append_round(world, 8, "after");
    ASSERT_TRUE(world.take_until(16));
    world.executor.run_for(5s);
    world.broker.counts.partitions_elsewhere = 0;
    for (std::int32_t i = 0; i < 8; ++i) {  // each is told to its session again
      ASSERT_TRUE(world.seek("t", i, Position::offset(2)).has_value());
    }
    append_round(world, 8, "last");
    ASSERT_TRUE(world.take_until(24));
    EXPECT_EQ(world.broker.counts.partitions_elsewhere, 0);
    EXPECT_EQ(world.values.size(), 24U);
    EXPECT_TRUE(world.errors.empty());
  }
}

TEST(ShardsTest, KeepEveryPartitionsOrderWhateverBecomesOfConnections) {
  constexpr std::int32_t kPartitions = 6;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ProducerWorld world(
        seed, {.linger = 1ms, .request_timeout = 2s, .in_flight_max = 5, .idempotent = true},
        {.batch_bytes_max = 400});
    sim::SimRandom random(seed);
    world.broker.settings.shards = 3;
    world.broker.create_topic("t", kPartitions);
    world.network.cut_one_in(60);
    std::map<std::int32_t, std::vector<std::string>> sent;
    for (int i = 0; i < 600; ++i) {
      const auto partition = static_cast<std::int32_t>(random.below(kPartitions));
      world.produce("t", std::to_string(i), partition);
      sent[partition].push_back(std::to_string(i));
      if (random.one_in(4)) world.executor.run_for(std::chrono::microseconds(random.below(2000)));
      if (random.one_in(40)) world.broker.settings.connections_max = 1 + random.below(5);
      if (random.one_in(60)) world.broker.announce_draining();
      if (random.one_in(120)) {
        world.broker.stop();
        world.executor.run_for(std::chrono::milliseconds(random.below(500)));
        world.broker.settings.shards = static_cast<std::int32_t>(1 + random.below(5));
        world.broker.start();
      }
    }
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.values_with("").size(), 600U);
    for (std::int32_t i = 0; i < kPartitions; ++i) {
      EXPECT_EQ(world.broker.log("t", i).values(), sent[i]) << i;
    }
  }
}

TEST(ShardsTest, AllGetTheirFetchesHoweverLongThoseOfOthersWait) {
  constexpr std::int32_t kPartitions = 16;
  ConsumerWorld world(9, {.prefetch_bytes_max = 8 * 1024 * 1024, .fetch_wait = 1h});
  world.broker.settings.shards = kPartitions;
  world.broker.create_topic("t", kPartitions);
  ASSERT_TRUE(world.assign(all(kPartitions)).has_value());
  world.executor.run_for(1s);
  // Two open fetches of 4 MiB would be all there is.
  append_round(world, kPartitions, "a");
  const auto start = world.executor.clock().now();
  ASSERT_TRUE(world.take_until(kPartitions));
  EXPECT_LT(world.executor.clock().now() - start, 100ms);
}

}  // namespace
}  // namespace tidelog::client_core
