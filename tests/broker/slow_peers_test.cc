// Peers that take too little, and peers that send too slowly: what they hold is bounded, and nobody
// else notices.
#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/broker/fetch_fixture.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class SlowPeersTest : public FetchTest {};

TEST_P(SlowPeersTest, AConsumerThatNeverReadsHoldsABoundedNumberOfBytes) {
  stop();
  limits_.unsent_bytes_max = 1 << 20;
  limits_.send_stall_timeout = std::chrono::hours(1);
  start();
  const TopicPartition id = make_partition("t");
  constexpr std::int64_t kBatches = 300;
  constexpr std::size_t kValueBytes = 100'000;
  constexpr std::uint32_t kBytesMax = 300'000;
  fill(id, kBatches, kValueBytes);
  constexpr std::int64_t kRounds = 100;
  // Each answer holds one of them at least.
  RawClient stuck = consumer_that_takes_nothing(id, kBatches, kBatches + kRounds, kBytesMax);
  wait_until([this] { return memory_used("fetch") >= limits_.unsent_bytes_max; });
  // The answer that took it above its limit, and what was read for the next one.
  const std::uint64_t most = limits_.unsent_bytes_max + 2 * (kBytesMax + 2 * kValueBytes);
  RawClient producer = connect();
  RawClient good = connect();
  std::uint64_t session = 0;
  for (std::int64_t round = 0; round < kRounds; ++round) {
    producer.produce(id, make_large_batch(id, kValueBytes));
    RawClient::Fetch fetch{.session = session, .max_wait_ms = kLongWaitMs};
    if (session == 0) fetch.changed = {fetch_from(id, kBatches)};
    const Answer answer = good.fetch(fetch);
    session = session_of(answer);
    const auto results = results_of(answer);
    ASSERT_TRUE(results.contains(id)) << "it waited for the other one in round " << round;
    ASSERT_EQ(results.at(id).next_offset, kBatches + round + 1);
    if (round % 10 == 0) ASSERT_LE(memory_used("fetch"), most + 2 * kValueBytes) << round;
  }
  // When it reads at last, it has lost nothing.
  std::int64_t seen = 0;
  while (seen < kBatches + kRounds) {
    const std::optional<Answer> answer = stuck.receive();
    ASSERT_TRUE(answer) << seen;
    const auto results = results_of(*answer);
    ASSERT_TRUE(results.contains(id));
    seen += static_cast<std::int64_t>(results.at(id).values.size());
    ASSERT_EQ(results.at(id).next_offset, seen);
  }
}

TEST_P(SlowPeersTest, ASlowReaderIsBoundedAndLosesNothing) {
  stop();
  limits_.unsent_bytes_max = 256 << 10;
  fetch_memory_bytes_ = 4 << 20;
  start();
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  constexpr int kBatches = 400;
  for (int i = 0; i < kBatches; ++i) {
    client.produce(id, make_batch(id, {std::to_string(i), std::string(50'000, 'x')}));
  }
  // Asks for everything and takes nothing of it for a while.
  RawClient slow = connect();
  const std::uint64_t session = session_of(slow.fetch({.changed = {fetch_from(id, kBatches * 2)}}));
  std::vector<std::uint64_t> asked;
  asked.push_back(slow.send_fetch({.session = session,
                                   .changed = {fetch_from(id, 0)},
                                   .max_wait_ms = kLongWaitMs,
                                   .bytes_max = 300'000}));
  for (int i = 0; i < 120; ++i) {
    asked.push_back(
        slow.send_fetch({.session = session, .max_wait_ms = kLongWaitMs, .bytes_max = 300'000}));
  }
  // Others are served meanwhile.
  for (std::int64_t i = 0; i < 20; ++i) {
    RawClient other = connect();
    EXPECT_THAT(results_of(other.fetch({.changed = {fetch_from(id, 2 * i)},
                                        .max_wait_ms = kLongWaitMs,
                                        .bytes_max = 1}))
                    .at(id)
                    .values.front(),
                std::to_string(i));
  }
  int seen = 0;
  for (const std::uint64_t correlation : asked) {
    if (seen == kBatches) break;
    const auto results = results_of(slow.receive(correlation));
    for (std::size_t i = 0; i < results.at(id).values.size(); i += 2) {
      EXPECT_EQ(results.at(id).values[i], std::to_string(seen++));
    }
  }
  EXPECT_EQ(seen, kBatches);
}

TEST_P(SlowPeersTest, ConsumersThatNeverReadLeaveMemoryForTheOthers) {
  stop();
  fetch_memory_bytes_ = 4 << 20;
  start();
  const TopicPartition id = make_partition("t");
  constexpr std::int64_t kBatches = 200;
  fill(id, kBatches, 100'000);
  std::vector<RawClient> slow;
  for (int i = 0; i < 12; ++i) slow.push_back(consumer_that_takes_nothing(id, kBatches, 21));
  RawClient other = connect();
  std::uint64_t session = 0;
  std::int64_t seen = 0;
  while (seen < kBatches) {
    RawClient::Fetch fetch{.session = session, .max_wait_ms = kLongWaitMs, .bytes_max = 500'000};
    if (session == 0) fetch.changed = {fetch_from(id, 0)};
    const Answer answer = other.fetch(fetch);
    session = session_of(answer);
    const auto results = results_of(answer);
    ASSERT_TRUE(results.contains(id)) << "it waited for the slow ones after " << seen;
    seen += static_cast<std::int64_t>(results.at(id).values.size());
  }
}

TEST_P(SlowPeersTest, AConsumerThatTakesTooLittleIsGivenUp) {
  stop();
  limits_.send_stall_timeout = milliseconds(300);
  start();
  const TopicPartition id = make_partition("t");
  fill(id, 30, 1'000'000);
  const RawClient slow = consumer_that_takes_nothing(id, 30, 21);
  wait_until([this] { return sum_of("tidelog_connections") == 0; });
  EXPECT_EQ(connect().call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(SlowPeersTest, ASenderThatDribblesHoldsItsFrameAndHoldsUpNobody) {
  stop();
  limits_.frame_grace = std::chrono::hours(1);
  start();
  const TopicPartition id = make_partition("t");
  RawClient slow = connect();
  RawClient good = connect();
  const std::vector<std::byte> frame = slow.encode_produce({{id, make_large_batch(id, 500'000)}});
  // Byte for byte; one of them a round.
  constexpr std::size_t kRounds = 200;
  for (std::size_t round = 0; round < kRounds; ++round) {
    slow.send_bytes(std::span(frame).subspan(round, 1));
    ASSERT_EQ(good.produce(id, make_large_batch(id, 20'000)), static_cast<std::int64_t>(round));
    if (round % 20 != 0) continue;
    // Nothing before the length is known, its bytes from then on, whatever has come of them.
    const std::uint64_t used = memory_used("produce");
    if (round + 1 < wire::kFramePrefixBytes) {
      ASSERT_EQ(used, 0U) << round;
    } else if (used != 0) {
      ASSERT_EQ(used, frame.size()) << round;
    }
  }
  wait_until([&] { return memory_used("produce") == frame.size(); });
  slow.send_bytes(std::span(frame).subspan(kRounds));
  const std::optional<Answer> answer = slow.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->table<fb::ProduceAnswer>().results()->Get(0)->base_offset(),
            static_cast<std::int64_t>(kRounds));
  EXPECT_EQ(memory_used("produce"), 0U);
}

// Its memory goes to those who wait for it.
TEST_P(SlowPeersTest, AFrameThatArrivesSlowlyIsGivenUpWhenOthersNeedItsMemory) {
  stop();
  produce_memory_bytes_ = 1 << 20;
  limits_.frame_grace = std::chrono::hours(1);
  limits_.scarce_frame_grace = milliseconds(50);
  start();
  const TopicPartition id = make_partition("t");
  RawClient slow = connect();
  const std::vector<std::byte> frame = slow.encode_produce({{id, make_large_batch(id, 900'000)}});
  slow.send_bytes(std::span(frame).first(frame.size() / 2));
  wait_until([this] { return memory_used("produce") > 0; });
  RawClient other = connect();
  EXPECT_EQ(other.produce(id, make_large_batch(id, 500'000)), 0);
  EXPECT_THAT(text_of_notice(slow, ErrorCode::kTimedOut), HasSubstr("did not arrive within"));
}

TIDELOG_WITH_SHARDS(SlowPeersTest);

}  // namespace
}  // namespace tidelog::broker
