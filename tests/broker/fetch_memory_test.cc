#include <gmock/gmock.h>

#include <algorithm>

#include "tests/broker/fetch_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::IsEmpty;

class FetchMemoryTest : public FetchTest {};

TEST_P(FetchMemoryTest, WhatIsNoLongerInMemoryComesFromTheDisk) {
  stop();
  tail_cache_bytes_ = 1 << 20;
  start();
  const TopicId topic = make_topic("t", 2);
  RawClient client = connect();
  std::vector<fb::FetchPartition> all;
  constexpr std::int32_t kBatches = 150;
  for (std::int32_t p = 0; p < 2; ++p) {
    const TopicPartition id{topic, PartitionIndex(p)};
    for (std::int32_t i = 0; i < kBatches; ++i) {
      client.produce(id, make_batch(id, {std::to_string(i), std::string(30'000, 'x')}));
    }
    all.push_back(fetch_from(id, 0));
  }
  std::map<TopicPartition, std::int32_t> seen;
  std::uint64_t session = 0;
  while (seen.size() < 2 ||
         std::ranges::any_of(seen, [](const auto& entry) { return entry.second < kBatches; })) {
    const Answer answer = client.fetch({.session = session,
                                        .changed = session == 0 ? all : decltype(all){},
                                        .max_wait_ms = kLongWaitMs,
                                        .bytes_max = 300'000});
    session = session_of(answer);
    for (const auto& [id, result] : results_of(answer)) {
      ASSERT_EQ(result.code, ErrorCode::kOk) << result.message;
      for (std::size_t i = 0; i < result.values.size(); i += 2) {
        EXPECT_EQ(result.values[i], std::to_string(seen[id]++));
      }
    }
  }
}

TEST_P(FetchMemoryTest, AColdReadOfAPartitionThatIsForgottenDoesNotHoldUpTheAnswer) {
  stop();
  tail_cache_bytes_ = 1 << 20;
  start();
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  constexpr std::int64_t kBatches = 150;
  fill(id, kBatches, 30'000);
  const std::uint64_t session =
      session_of(client.fetch({.changed = {fetch_from(id, kBatches)}, .max_wait_ms = 0}));
  // The first asks the disk; the second leaves the partition before the disk has answered.
  const auto [reading, behind] =
      client.send_fetches({.session = session, .changed = {fetch_from(id, 0)}, .max_wait_ms = 0},
                          {.session = session,
                           .forgotten = {fb::ForgottenPartition(uuid_of(id.topic), 0)},
                           .max_wait_ms = 4 * kLongWaitMs});
  EXPECT_THAT(results_of(client.receive(reading)), IsEmpty());
  EXPECT_EQ(client.fetch({.session = session, .close_session = true}).code(), ErrorCode::kOk);
  EXPECT_THAT(results_of(client.receive(behind)), IsEmpty());
}

// What waits to become as much as its fetch wants holds memory, and a lot of it where many wait:
// some of them are answered early.
TEST_P(FetchMemoryTest, FetchesThatWantMuchAtOnceLeaveMemoryForTheOthers) {
  stop();
  fetch_memory_bytes_ = 4 << 20;
  start();
  const TopicPartition id = make_partition("t");
  fill(id, 15, 100'000);
  std::vector<RawClient> patient;
  for (int i = 0; i < 10; ++i) {
    patient.push_back(connect());
    patient.back().send_fetch(
        {.changed = {fetch_from(id, 0)}, .min_bytes = 4 << 20, .max_wait_ms = 4 * kLongWaitMs});
  }
  // As much was read as the budget holds.
  wait_until([this] { return sum_of("tidelog_fetched_bytes_total") >= 4 << 20; });
  RawClient other = connect();
  EXPECT_THAT(results_of(other.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = kLongWaitMs})),
              ::testing::SizeIs(1));
}

// Its other sessions wait for news when an answer takes it above its quota.
TEST_P(FetchMemoryTest, TheSessionsOfAClientAboveItsQuotaHoldNothing) {
  stop();
  fetch_memory_bytes_ = 4 << 20;
  change_settings_ = [](BrokerSettings& settings) { settings.quota_out_bytes = 64 << 10; };
  start();
  const TopicId topic = make_topic("t", 2);
  const TopicPartition first{topic, PartitionIndex(0)};
  const TopicPartition second{topic, PartitionIndex(1)};
  RawClient producer = connect();
  producer.produce(first, make_large_batch(first, 4'000'000));
  RawClient client = connect();
  for (int i = 0; i < 30; ++i) {
    client.send_fetch({.changed = {fetch_from(second, 0)}, .max_wait_ms = 8 * kLongWaitMs});
  }
  // A minute's worth.
  client.fetch({.changed = {fetch_from(first, 0)}, .max_wait_ms = kLongWaitMs});
  producer.produce(second, make_large_batch(second, 1'000'000));
  RawClient other(broker_->port());
  ASSERT_EQ(other.hello_as("other").code(), ErrorCode::kOk);
  EXPECT_THAT(
      results_of(other.fetch({.changed = {fetch_from(second, 0)}, .max_wait_ms = kLongWaitMs})),
      ::testing::SizeIs(1));
}

TEST_P(FetchMemoryTest, SessionsThatWereRefusedLeaveRoomForOthers) {
  stop();
  control_memory_bytes_ = 1 << 20;
  start();
  const TopicId topic = TopicId::random();
  std::vector<fb::FetchPartition> many;
  for (std::int32_t i = 0; i < 2000; ++i) many.push_back(fetch_from({topic, PartitionIndex(i)}, 0));
  RawClient holder = connect();
  const std::uint64_t held = session_of(holder.fetch({.changed = many}));
  RawClient client = connect();
  for (int i = 0; i < 70; ++i) {
    const Answer refused = client.fetch({.changed = many});
    ASSERT_EQ(refused.code(), ErrorCode::kOverloaded);
    ASSERT_THAT(refused.message(), ::testing::HasSubstr("no memory left")) << i;
  }
  EXPECT_EQ(holder.fetch({.session = held, .close_session = true}).code(), ErrorCode::kOk);
  const Answer opened = client.fetch({.changed = many});
  EXPECT_EQ(opened.code(), ErrorCode::kOk) << opened.message();
}

class PausedConsumersTest : public FetchTest {
 protected:
  void everyone_reads_everything(std::size_t tail_cache_bytes);
};

void PausedConsumersTest::everyone_reads_everything(std::size_t tail_cache_bytes) {
  stop();
  fetch_memory_bytes_ = 1 << 20;
  tail_cache_bytes_ = tail_cache_bytes;
  start();
  const TopicId topic = make_topic("t", 4);
  RawClient producer = connect();
  std::vector<fb::FetchPartition> all;
  constexpr std::size_t kBatches = 40;
  for (std::int32_t p = 0; p < 4; ++p) {
    const TopicPartition id{topic, PartitionIndex(p)};
    for (std::size_t i = 0; i < kBatches; ++i) {
      producer.produce(id, make_large_batch(id, 50'000));
    }
    all.push_back(fetch_from(id, 0));
  }
  // Each reads once, of all shards, and then no more for as long as the test lasts.
  std::vector<RawClient> paused;
  std::vector<std::uint64_t> sessions;
  std::vector<std::size_t> seen;
  const auto count = [](const Answer& answer) {
    std::size_t values = 0;
    for (const auto& [id, result] : results_of(answer)) values += result.values.size();
    return values;
  };
  for (int i = 0; i < 12; ++i) {
    paused.push_back(connect());
    const Answer answer =
        paused.back().fetch({.changed = all, .max_wait_ms = kLongWaitMs, .bytes_max = 400'000});
    sessions.push_back(session_of(answer));
    seen.push_back(count(answer));
  }
  // What they did not take yet comes once, when they go on.
  for (std::size_t i = 0; i < paused.size(); ++i) {
    while (seen[i] < 4 * kBatches) {
      const std::size_t more = count(paused[i].fetch(
          {.session = sessions[i], .max_wait_ms = kLongWaitMs, .bytes_max = 400'000}));
      ASSERT_GT(more, 0U);
      seen[i] += more;
    }
    EXPECT_EQ(seen[i], 4 * kBatches);
    EXPECT_THAT(results_of(paused[i].fetch({.session = sessions[i]})), IsEmpty());
  }
}

TEST_P(PausedConsumersTest, HoldNoMemoryThatOthersNeed) { everyone_reads_everything(64 << 20); }

// What the disk gave after the answer had gone is held by the partitions' shards.
TEST_P(PausedConsumersTest, HoldNoMemoryForWhatTheDiskGaveTooLate) {
  everyone_reads_everything(1 << 20);
}

TIDELOG_WITH_SHARDS(FetchMemoryTest);
TIDELOG_WITH_SHARDS(PausedConsumersTest);

}  // namespace
}  // namespace tidelog::broker
