// Partitions that are added to a topic while it is read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/client/consumer_world.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::ElementsAre;

class FetcherFollowTest : public testing::Test {
 protected:
  void SetUp() override {
    world.broker.create_topic("t", 1);
    ASSERT_TRUE(world.assign({{"t", 0, Position::end()}}).has_value());
  }
  ConsumerWorld world{1, {.metadata_max_age = 60s}};
};

TEST_F(FetcherFollowTest, ReadsAddedPartitionsFromTheirStartAndLeavesTheOthersWhereTheyAre) {
  world.broker.append("t", 0, {"a", "b"});
  ASSERT_TRUE(world.take_until(2));
  ASSERT_TRUE(world.fetcher->follow("t", 1).has_value());
  world.broker.add_partitions("t", 3);
  world.broker.append("t", 1, {"c", "d"});
  world.broker.log("t", 1).trim(Offset(1));
  world.broker.append("t", 2, {"e"});
  ASSERT_TRUE(world.take_until(4, 70s));
  world.broker.append("t", 0, {"f"});
  world.broker.add_partitions("t", 4);
  world.broker.append("t", 3, {"g"});
  ASSERT_TRUE(world.take_until(6, 70s));
  EXPECT_EQ(std::set(world.values.begin(), world.values.end()),
            (std::set<std::string>{"a", "b", "d", "e", "f", "g"}));
  EXPECT_EQ(world.values.size(), 6U);
  EXPECT_TRUE(world.errors.empty());
}

TEST_F(FetcherFollowTest, ReadsOnlyWhatIsAssignedWithoutBeingAsked) {
  world.broker.add_partitions("t", 2);
  world.broker.append("t", 1, {"not read"});
  EXPECT_FALSE(world.take_until(1, 130s));
  ASSERT_TRUE(world.fetcher->follow("t", 1).has_value());
  ASSERT_TRUE(world.take_until(1, 130s));
  ASSERT_TRUE(world.assign({{"t", 0, Position::end()}}).has_value());  // ends it
  world.broker.add_partitions("t", 3);
  world.broker.append("t", 2, {"not read"});
  EXPECT_FALSE(world.take_until(2, 130s));
}

TEST_F(FetcherFollowTest, FindsThePartitionThatNobodyCouldResolveAtFirst) {
  ASSERT_TRUE(world.fetcher->follow("t", 1).has_value());
  world.broker.add_partitions("t", 2);
  world.broker.append("t", 1, {"late"});
  world.executor.run_for(59s);
  world.broker.stop();
  world.executor.run_for(130s);  // longer than the resolver tries
  world.broker.start();
  ASSERT_TRUE(world.take_until(1, 130s));
  EXPECT_THAT(world.values, ElementsAre("late"));
}

TEST_F(FetcherFollowTest, EndsWithItsTopic) {
  ASSERT_TRUE(world.fetcher->follow("t", 1).has_value());
  world.broker.delete_topic("t");
  world.broker.create_topic("t", 2);
  world.broker.append("t", 1, {"of another"});
  ASSERT_TRUE(world.take_error());
  EXPECT_FALSE(world.take_until(1, 130s));
}

TEST_F(FetcherFollowTest, NeedsAPartitionThatIsAssigned) {
  EXPECT_EQ(world.fetcher->follow("other", 0).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(world.fetcher->follow("s", 0).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(world.fetcher->follow("t", -1).error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tidelog::client_core
