// What the consumer's core does when brokers, networks and logs fail it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/client/consumer_world.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(FetcherFaultsTest, LosesAndRepeatsNothingUnderCutsAtAnyByte) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    ConsumerWorld world(seed, {.fetch_bytes_max = 600, .partition_fetch_bytes_max = 300});
    world.broker.create_topic("t", 3);
    ASSERT_TRUE(world
                    .assign({{"t", 0, Position::start()},
                             {"t", 1, Position::start()},
                             {"t", 2, Position::start()}})
                    .has_value());
    world.network.cut_one_in(15);
    std::vector<std::vector<std::string>> expected(3);
    for (int i = 0; i < 150; ++i) {
      const std::int32_t partition = i % 3;
      const auto values = numbers(i * 4, i * 4 + 4);
      world.broker.append("t", partition, values);
      auto& all = expected[static_cast<std::size_t>(partition)];
      all.insert(all.end(), values.begin(), values.end());
      if (i % 5 == 0) world.executor.run_for(1ms);
    }
    ASSERT_TRUE(world.take_until(600, 300s));
    EXPECT_EQ(world.values.size(), 600U);
    EXPECT_THAT(world.errors, IsEmpty());
    for (const auto& partition : expected) {
      auto at = world.values.begin();
      for (const std::string& value : partition) {
        at = std::find(at, world.values.end(), value);
        ASSERT_NE(at, world.values.end()) << value << " is missing or out of order";
      }
    }
  }
}

TEST(FetcherFaultsTest, NeverDeliversABatchWhoseChecksumIsWrong) {
  for (const std::size_t byte : {std::size_t{50}, std::size_t{90}, wire::kBatchHeaderBytes + 5}) {
    SCOPED_TRACE(byte);
    ConsumerWorld world(4);
    world.broker.create_topic("t", 1);
    for (int i = 0; i < 3; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
    world.broker.log("t", 0).corrupt(Offset(10), byte);
    ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
    ASSERT_TRUE(world.take_error());
    world.executor.run_for(5s);
    world.take();
    EXPECT_EQ(world.values, numbers(0, 10));  // neither the damaged batch nor what is behind it
    ASSERT_EQ(world.errors.size(), 1U);
    EXPECT_EQ(world.errors[0].position, 10);
    EXPECT_EQ(world.errors[0].error.name, "CHECKSUM_MISMATCH");
    EXPECT_THAT(world.errors[0].error.message, HasSubstr("topic 't' partition 0"));
    // A damaged header does not even say where its batch ends.
    EXPECT_EQ(world.errors[0].resume_offset,
              byte < wire::kBatchHeaderBytes ? std::nullopt : std::optional<std::int64_t>(20));
    ASSERT_TRUE(world.seek("t", 0, Position::offset(20)).has_value());
    ASSERT_TRUE(world.take_until(20));
    EXPECT_EQ(world.values.back(), "29");
  }
}

TEST(FetcherFaultsTest, SaysWhereReadingCanGoOn) {
  struct Case {
    sim::ScriptedBroker::FetchVerdict verdict;
    std::string name;
    std::int64_t resume;
  };
  for (const Case& one :
       {Case{{.code = ErrorCode::kDiverged, .diverging_offset = 4}, "DIVERGED", 4},
        Case{{.code = ErrorCode::kLostData, .sound_offset = 30}, "LOST_DATA", 30},
        Case{{.code = ErrorCode::kCorruptData, .sound_offset = 31}, "CORRUPT_DATA", 31}}) {
    SCOPED_TRACE(one.name);
    ConsumerWorld world(10);
    world.broker.create_topic("t", 2);
    world.broker.append("t", 1, numbers(0, 10));
    world.broker.on_fetch = [&](const std::string&, std::int32_t partition) {
      return partition == 0 ? one.verdict : sim::ScriptedBroker::FetchVerdict{};
    };
    ASSERT_TRUE(
        world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
    ASSERT_TRUE(world.take_error());
    EXPECT_EQ(world.errors[0].error.name, one.name);
    EXPECT_EQ(world.errors[0].resume_offset, one.resume);
    ASSERT_TRUE(world.take_until(10));  // the other partition is not concerned
    EXPECT_EQ(world.errors.size(), 1U);
  }
}

TEST(FetcherFaultsTest, TriesAgainWhatTheBrokerCannotDoNow) {
  ConsumerWorld world(11);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  int refusals = 5;
  world.broker.on_fetch = [&](const std::string&,
                              std::int32_t) -> sim::ScriptedBroker::FetchVerdict {
    if (refusals-- <= 0) return {};
    return {.code = refusals % 2 == 0 ? ErrorCode::kNotLeader : ErrorCode::kNotReady};
  };
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  EXPECT_EQ(world.values, numbers(0, 10));
  EXPECT_THAT(world.errors, IsEmpty());
}

TEST(FetcherFaultsTest, GoesOnAfterARestartOfTheBroker) {
  ConsumerWorld world(12);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  world.broker.stop();
  world.executor.run_for(60s);
  world.broker.start();
  world.broker.append("t", 0, numbers(10, 20));
  ASSERT_TRUE(world.take_until(20));
  EXPECT_EQ(world.values, numbers(0, 20));
  EXPECT_THAT(world.errors, IsEmpty());
  // The epoch that the client knew is over: it does not insist on it.
  EXPECT_THAT(world.log_lines, testing::Each(testing::Not(HasSubstr("leader epoch"))));
}

TEST(FetcherFaultsTest, FindsABrokerThatMovedWhenOnlyAPositionIsAskedFor) {
  FetcherOptions options;
  options.pool.seeds = {{"sim", 9701}};
  ConsumerWorld world(27, options);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.resolve("t", Position::end()).has_value());
  world.executor.run_for(5s);
  world.broker.stop();
  sim::ScriptedBroker moved(world.executor, world.network, 9701);
  ASSERT_EQ(moved.create_topic("t", 1), world.broker.log("t", 0).partition().topic);
  moved.append("t", 0, numbers(0, 12));
  world.executor.run_for(1ms);  // the client hears that its connection is gone
  const Result<ResolvedOffset> end = world.resolve("t", Position::end());
  ASSERT_TRUE(end.has_value()) << end.error().to_string();
  EXPECT_EQ(end->offset, 12);
}

TEST(FetcherFaultsTest, NoticesThatATopicWasMadeAgain) {
  ConsumerWorld world(13);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  world.broker.delete_topic("t");
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, {"new"});
  ASSERT_TRUE(world.take_error());
  EXPECT_EQ(world.errors[0].error.name, "UNKNOWN_TOPIC");
  EXPECT_EQ(world.values.size(), 10U);
  ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
  ASSERT_TRUE(world.take_until(11));
  EXPECT_EQ(world.values.back(), "new");
}

TEST(FetcherFaultsTest, FindsATopicAgainOnceItWasMadeAgain) {
  ConsumerWorld world(21);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.broker.delete_topic("t");
  ASSERT_TRUE(world.take_error());
  world.executor.run_for(5s);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, {"new"});
  const Result<> sought = world.seek("t", 0, Position::start());
  ASSERT_TRUE(sought.has_value()) << sought.error().to_string();
  ASSERT_TRUE(world.take_until(1));
}

TEST(FetcherFaultsTest, SaysSoonThatNoBrokerCanBeReached) {
  ConsumerWorld world(15);
  world.broker.stop();
  const auto start = world.executor.clock().now();
  const Result<> assigned = world.assign({{"t", 0, Position::start()}});
  ASSERT_FALSE(assigned.has_value());
  EXPECT_EQ(assigned.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(assigned.error().message(), HasSubstr("refused"));
  EXPECT_LT(world.executor.clock().now() - start, 5s);
}

TEST(FetcherFaultsTest, GoesOnOnceATopicIsReadyAgain) {
  ConsumerWorld world(22);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  bool refused = false;
  world.broker.on_fetch = [&](const std::string&,
                              std::int32_t) -> sim::ScriptedBroker::FetchVerdict {
    return {.code = std::exchange(refused, true) ? ErrorCode::kOk : ErrorCode::kNotLeader};
  };
  int not_ready = 8;
  world.broker.on_metadata = [&](const std::string&) {
    return refused && not_ready-- > 0 ? ErrorCode::kNotReady : ErrorCode::kOk;
  };
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.take_until(10));
  EXPECT_LE(not_ready, 0);
  EXPECT_THAT(world.errors, IsEmpty());
}

TEST(FetcherFaultsTest, AsksLessAndLessOftenForATopicThatIsNotReady) {
  ConsumerWorld world(23);
  world.broker.create_topic("t", 1);
  world.broker.on_metadata = [](const std::string&) { return ErrorCode::kNotReady; };
  EXPECT_FALSE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.broker.on_metadata = nullptr;
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.broker.on_metadata = [](const std::string&) { return ErrorCode::kNotReady; };
  world.broker.on_fetch = [](const std::string&,
                             std::int32_t) -> sim::ScriptedBroker::FetchVerdict {
    return {.code = ErrorCode::kNotLeader};
  };
  world.broker.append("t", 0, numbers(0, 10));
  const int before = world.broker.counts.metadata;
  world.executor.run_for(60s);
  EXPECT_GT(world.broker.counts.metadata, before + 20);
  EXPECT_LT(world.broker.counts.metadata, before + 80);
}

TEST(FetcherFaultsTest, ReportsAFetchThatNoRetryHelps) {
  ConsumerWorld world(24);
  world.broker.create_topic("t", 2);
  world.broker.append("t", 0, numbers(0, 5));
  world.broker.append("t", 1, numbers(5, 10));
  world.broker.on_fetch_request = [] { return ErrorCode::kInternal; };
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
  world.executor.run_for(60s);
  world.take();
  ASSERT_EQ(world.errors.size(), 2U);
  for (const client::PartitionError& error : world.errors) {
    EXPECT_EQ(error.error.name, "INTERNAL");
    EXPECT_THAT(error.error.message, HasSubstr("topic 't' partition"));
  }
  EXPECT_EQ(world.broker.counts.fetches, 1);
  world.broker.on_fetch_request = nullptr;
  ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
  ASSERT_TRUE(world.seek("t", 1, Position::start()).has_value());
  EXPECT_TRUE(world.take_until(10));
}

TEST(FetcherFaultsTest, FetchesLessAndLessOftenWhileABrokerIsOverloaded) {
  ConsumerWorld world(25);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 5));
  world.broker.on_fetch_request = [] { return ErrorCode::kOverloaded; };
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(60s);
  EXPECT_GT(world.broker.counts.fetches, 20);
  EXPECT_LT(world.broker.counts.fetches, 60);
  EXPECT_THAT(world.errors, IsEmpty());
  world.broker.on_fetch_request = nullptr;
  EXPECT_TRUE(world.take_until(5));
}

TEST(FetcherFaultsTest, SaysThatABrokerOfAnotherClusterTookThePlaceOfItsOwn) {
  ConsumerWorld world(26);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  world.broker.stop();
  world.broker.settings.cluster = 43;
  world.broker.start();
  ASSERT_TRUE(world.take_error());
  EXPECT_EQ(world.errors[0].error.name, "WRONG_CLUSTER");
  EXPECT_EQ(world.errors[0].position, 10);
  world.executor.run_for(60s);
  world.take();
  EXPECT_EQ(world.errors.size(), 1U);
}

}  // namespace
}  // namespace tidelog::client_core
