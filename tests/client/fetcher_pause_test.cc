// Holding partitions back: what pause() and resume() promise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/consumer_world.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::HasSubstr;
using testing::IsEmpty;

class FetcherPauseTest : public testing::Test {
 protected:
  // Ten batches of ten records in each of two partitions, both read from their start.
  void SetUp() override {
    world.broker.create_topic("t", 2);
    for (int i = 0; i < 10; ++i) {
      world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
      world.broker.append("t", 1, numbers(1000 + i * 10, 1000 + i * 10 + 10));
    }
    ASSERT_TRUE(
        world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
  }
  std::int64_t position(std::int32_t partition) {
    return world.queue.position(*world.fetcher->cursor("t", partition));
  }

  ConsumerWorld world{31};
};

TEST_F(FetcherPauseTest, GivesNothingOfAPausedPartitionAndAllOfItAfterwards) {
  world.executor.run_for(1s);  // all of it is prefetched
  ASSERT_TRUE(world.fetcher->pause("t", 1).has_value());
  ASSERT_TRUE(world.take_until(100));
  world.broker.append("t", 1, {"1100"});
  world.executor.run_for(5s);
  world.take();
  EXPECT_EQ(world.values, numbers(0, 100));
  EXPECT_EQ(position(1), 0);
  ASSERT_TRUE(world.fetcher->resume("t", 1).has_value());
  world.values.clear();
  ASSERT_TRUE(world.take_until(101));
  EXPECT_EQ(world.values, numbers(1000, 1101));
}

TEST_F(FetcherPauseTest, GoesOnBehindWhatWasGivenWhileItWasPaused) {
  world.executor.run_for(1s);
  auto batch = world.queue.pop(std::chrono::steady_clock::time_point::min());
  ASSERT_TRUE(batch.has_value());
  const std::int32_t partition = batch->cursor->partition;
  ASSERT_TRUE(world.fetcher->pause("t", partition).has_value());
  world.queue.advance(*batch, 7);  // poll() had taken it before
  world.queue.finish(*batch);
  EXPECT_EQ(position(partition), 7);
  ASSERT_TRUE(world.fetcher->resume("t", partition).has_value());
  ASSERT_TRUE(world.take_until(193));
  std::vector<std::string> of_it;
  const int base = partition * 1000;
  for (const std::string& value : world.values) {
    if ((std::stoi(value) >= 1000) == (partition == 1)) of_it.push_back(value);
  }
  EXPECT_EQ(of_it, numbers(base + 7, base + 100));
}

TEST_F(FetcherPauseTest, ForgetsWhatWasGivenWhenSoughtMeanwhile) {
  world.executor.run_for(1s);
  auto batch = world.queue.pop(std::chrono::steady_clock::time_point::min());
  ASSERT_TRUE(batch.has_value());
  const std::int32_t partition = batch->cursor->partition;
  ASSERT_TRUE(world.fetcher->pause("t", partition).has_value());
  ASSERT_TRUE(world.seek("t", partition, Position::offset(42)).has_value());
  world.queue.advance(*batch, 10);
  world.queue.finish(*batch);
  EXPECT_EQ(position(partition), 42);
  world.executor.run_for(5s);
  world.take();
  EXPECT_EQ(world.values.size(), 100U);  // the other partition; a seek does not resume
  ASSERT_TRUE(world.fetcher->resume("t", partition).has_value());
  ASSERT_TRUE(world.take_until(158));
  EXPECT_EQ(world.values[100], std::to_string(partition * 1000 + 42));
}

TEST_F(FetcherPauseTest, LeavesItsRoomToTheOtherPartitions) {
  constexpr std::size_t kBound = 20'000;
  ConsumerWorld small(32, {.prefetch_bytes_max = kBound});
  small.broker.create_topic("t", 2);
  const std::vector<std::string> values(10, std::string(100, 'x'));
  for (int i = 0; i < 100; ++i) small.broker.append("t", 1, values);
  ASSERT_TRUE(small.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
  small.executor.run_for(5s);
  EXPECT_GT(small.queue.bytes(), kBound / 2);
  ASSERT_TRUE(small.fetcher->pause("t", 1).has_value());
  EXPECT_EQ(small.queue.bytes(), 0U);
  for (int i = 0; i < 100; ++i) small.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
  ASSERT_TRUE(small.take_until(1000));
  EXPECT_EQ(small.values, numbers(0, 1000));
}

TEST_F(FetcherPauseTest, ReportsTheErrorOfAPartitionThatIsPausedBeforeItIsPolled) {
  world.broker.log("t", 1).corrupt(Offset(0), 60);
  world.executor.run_for(1s);
  ASSERT_TRUE(world.fetcher->pause("t", 1).has_value());
  ASSERT_TRUE(world.take_error());
  EXPECT_EQ(world.errors[0].partition, 1);
}

TEST_F(FetcherPauseTest, StaysPausedAcrossARestartOfTheBroker) {
  ASSERT_TRUE(world.take_until(200));
  ASSERT_TRUE(world.fetcher->pause("t", 1).has_value());
  world.broker.stop();
  world.executor.run_for(60s);
  world.broker.start();
  world.broker.append("t", 0, {"of 0"});
  world.broker.append("t", 1, {"of 1"});
  ASSERT_TRUE(world.take_until(201));
  world.executor.run_for(5s);
  world.take();
  EXPECT_EQ(world.values.back(), "of 0");
  ASSERT_TRUE(world.fetcher->resume("t", 1).has_value());
  ASSERT_TRUE(world.take_until(202));
  EXPECT_EQ(world.values.back(), "of 1");
  EXPECT_THAT(world.errors, IsEmpty());
}

TEST_F(FetcherPauseTest, RefusesWhatIsNotAssigned) {
  for (const Result<>& refused : {world.fetcher->pause("t", 2), world.fetcher->resume("u", 0)}) {
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(refused.error().message(), HasSubstr("not assigned"));
  }
}

TEST_F(FetcherPauseTest, TellsHowFarBehindItIs) {
  ConsumerWorld fresh(33);
  fresh.broker.create_topic("t", 1);
  ASSERT_TRUE(fresh.assign({{"t", 0, Position::offset(0)}}).has_value());
  fresh.executor.run_for(5s);
  EXPECT_EQ(fresh.queue.lag(*fresh.fetcher->cursor("t", 0)), std::nullopt);  // no record came
  EXPECT_EQ(fresh.queue.lag(*fresh.fetcher->watch_end("t", 0)), std::nullopt);
  fresh.executor.run_for(1s);
  EXPECT_EQ(fresh.queue.lag(*fresh.fetcher->watch_end("t", 0)), 0);
  fresh.broker.append("t", 0, numbers(0, 10));
  fresh.executor.run_for(1s);
  EXPECT_EQ(fresh.queue.lag(*fresh.fetcher->cursor("t", 0)), 10);
  world.executor.run_for(1s);
  EXPECT_EQ(world.queue.lag(*world.fetcher->cursor("t", 0)), 100);
  ASSERT_TRUE(world.take_until(200));
  EXPECT_EQ(world.queue.lag(*world.fetcher->cursor("t", 0)), 0);
}

}  // namespace
}  // namespace tidelog::client_core
