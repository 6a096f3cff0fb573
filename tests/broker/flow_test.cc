// What a broker does so that no client can hurt the others: budgets and limits.
#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/broker/fetch_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::HasSubstr;

class FlowTest : public FetchTest {
 protected:
  // A metadata request of about this size, all of it table.
  static flatbuffers::FlatBufferBuilder large_metadata(std::size_t bytes) {
    flatbuffers::FlatBufferBuilder to;
    const std::vector<std::string> names = {std::string(bytes, 'x')};
    to.Finish(fb::CreateMetadataRequest(to, to.CreateVectorOfStrings(names)));
    return to;
  }
};

// The frames that fill the budget never arrive whole; everything else is served.
TEST_P(FlowTest, AFullProduceBudgetStopsNeitherFetchesNorControl) {
  stop();
  produce_memory_bytes_ = 1 << 20;
  limits_.scarce_frame_grace = std::chrono::hours(1);
  start();
  const TopicPartition id = make_partition("t");
  connect().produce(id, make_batch(id, {"there"}));
  std::vector<RawClient> slow;
  const std::vector<std::byte> batch = make_large_batch(id, 700'000);
  for (int i = 0; i < 4; ++i) {
    slow.push_back(connect());
    const std::vector<std::byte> frame = slow.back().encode_produce({{id, batch}});
    slow.back().send_bytes(std::span(frame).first(frame.size() / 2));
  }
  wait_until([this] { return sum_of("tidelog_budget_waits_total") >= 3; });

  RawClient other = connect();
  EXPECT_EQ(other.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
  EXPECT_EQ(other.metadata({"t"}).code(), ErrorCode::kOk);
  // A name of that length is refused; what counts is that it is read and answered.
  other.call(wire::ApiKey::kMetadata, large_metadata(200'000));
  EXPECT_EQ(results_of(other.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = kLongWaitMs}))
                .at(id)
                .values.front(),
            "there");
  make_topic("another");
}

TEST_P(FlowTest, LargeRequestsThatNeverArriveHoldUpNeitherProduceNorSmallOnes) {
  stop();
  control_memory_bytes_ = 1 << 20;
  limits_.scarce_frame_grace = std::chrono::hours(1);
  start();
  const TopicPartition id = make_partition("t");
  std::vector<RawClient> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(connect());
    const std::vector<std::byte> frame =
        slow.back().encode(wire::ApiKey::kMetadata, large_metadata(700'000), {});
    slow.back().send_bytes(std::span(frame).first(frame.size() / 2));
  }
  wait_until([this] { return sum_of("tidelog_budget_waits_total") >= 3; });
  RawClient other = connect();
  EXPECT_EQ(other.metadata({"t"}).code(), ErrorCode::kOk);
  EXPECT_EQ(other.produce(id, make_large_batch(id, 700'000)), 0);
  EXPECT_EQ(other.fetch({.changed = {fetch_from(id, 0)}}).code(), ErrorCode::kOk);
}

TEST_P(FlowTest, WhoWaitsForMemoryIsNotOvertakenOnItsShard) {
  stop();
  produce_memory_bytes_ = 1 << 20;
  limits_.scarce_frame_grace = std::chrono::hours(1);
  start();
  const TopicPartition id = make_partition("t");
  const auto connect_there = [this] {
    RawClient client(broker_->port());
    EXPECT_EQ(client.hello(0).table<fb::HelloAnswer>().shard(), 0);
    return client;
  };
  RawClient first = connect_there();
  RawClient large = connect_there();
  RawClient small = connect_there();
  const std::vector<std::byte> begun = first.encode_produce({{id, make_large_batch(id, 600'000)}});
  first.send_bytes(std::span(begun).first(begun.size() - 1));
  wait_until([this] { return memory_used("produce") > 0; });
  // There is room for the small one, but not for the one that came before it.
  const std::uint64_t waiting = large.send_produce({{id, make_large_batch(id, 700'000)}});
  wait_until([this] { return metric("tidelog_budget_waits_total", 0) >= 1; });
  const std::uint64_t behind = small.send_produce({{id, make_large_batch(id, 400'000)}});
  wait_until([this] { return metric("tidelog_budget_waits_total", 0) >= 2; });
  first.send_bytes(std::span(begun).last(1));
  const auto offset = [](const Answer& answer) {
    return answer.table<fb::ProduceAnswer>().results()->Get(0)->base_offset();
  };
  EXPECT_EQ(offset(*first.receive()), 0);
  EXPECT_EQ(offset(large.receive(waiting)), 1);
  EXPECT_EQ(offset(small.receive(behind)), 2);
}

TEST_P(FlowTest, TooManyConnectionsAreRefusedWithTheReason) {
  stop();
  change_settings_ = [](BrokerSettings& settings) { settings.connections_per_address_max = 3; };
  start();
  std::vector<RawClient> open;
  for (int i = 0; i < 3; ++i) {
    RawClient& client = open.emplace_back(broker_->port());
    EXPECT_EQ(client.hello(i % GetParam()).code(), ErrorCode::kOk);
  }
  {
    RawClient refused(broker_->port());
    EXPECT_THAT(text_of_notice(refused, ErrorCode::kOverloaded), HasSubstr("127.0.0.1"));
    EXPECT_TRUE(refused.closes());
  }
  EXPECT_EQ(sum_of("tidelog_refused_connections_total"), 1U);
  // One that goes makes room, also after it moved.
  open.pop_back();
  wait_until([this] { return sum_of("tidelog_connections") == 2; });
  EXPECT_EQ(connect().call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
}

TEST_P(FlowTest, SessionsOfManyPartitionsAreRefusedWhenMemoryIsShort) {
  stop();
  control_memory_bytes_ = 1 << 20;
  start();
  const TopicId topic = TopicId::random();
  const auto many = [&topic](std::int32_t count) {
    std::vector<fb::FetchPartition> named;
    named.reserve(static_cast<std::size_t>(count));
    for (std::int32_t i = 0; i < count; ++i) {
      named.push_back(fetch_from({topic, PartitionIndex(i)}, 0));
    }
    return named;
  };
  RawClient client = connect();
  const Answer opened = client.fetch({.changed = many(2000), .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(opened.code(), ErrorCode::kOk) << opened.message();
  RawClient other = connect();
  const Answer refused = other.fetch({.changed = many(2000), .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(refused.code(), ErrorCode::kOverloaded);
  EXPECT_THAT(refused.message(), HasSubstr("2000 partitions"));
  EXPECT_EQ(other.fetch({.changed = many(10), .max_wait_ms = kLongWaitMs}).code(), ErrorCode::kOk);
  // A session that ends gives its memory back.
  const std::uint64_t session = opened.table<fb::FetchAnswer>().session();
  EXPECT_EQ(client.fetch({.session = session, .close_session = true}).code(), ErrorCode::kOk);
  EXPECT_EQ(other.fetch({.changed = many(2000), .max_wait_ms = kLongWaitMs}).code(),
            ErrorCode::kOk);
}

// Sessions hold what they have for as long as they live; requests must not wait for that.
TEST_P(FlowTest, LargeRequestsPassWhileSessionsHoldAllTheyMay) {
  stop();
  control_memory_bytes_ = 1 << 20;
  start();
  const TopicId topic = TopicId::random();
  std::vector<fb::FetchPartition> many;
  for (std::int32_t i = 0; i < 300; ++i) many.push_back(fetch_from({topic, PartitionIndex(i)}, 0));
  RawClient client = connect();
  int opened = 0;
  while (client.fetch({.changed = many}).code() == ErrorCode::kOk) ASSERT_LT(++opened, 20);
  EXPECT_GT(opened, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(connect().call(wire::ApiKey::kMetadata, large_metadata(400'000)).code(),
              ErrorCode::kTooLarge)
        << "a name of that length is refused; what counts is that it is read and answered";
  }
}

TEST_P(FlowTest, ConnectionsThatMoveLeaveNoRequestsInFlight) {
  // Until one began on the other shard than the one it wants.
  for (int i = 0; i < 200; ++i) {
    RawClient client(broker_->port());
    EXPECT_EQ(client.hello(i % GetParam()).code(), ErrorCode::kOk);
    if (i >= 8 && sum_of("tidelog_moved_connections_total") > 0) break;
  }
  if (GetParam() > 1) EXPECT_GT(sum_of("tidelog_moved_connections_total"), 0U);
  for (int shard = 0; shard < GetParam(); ++shard) {
    wait_until([&] { return metric("tidelog_requests_in_flight", shard) == 0; });
  }
}

// Also where a shard was told of partitions, but never asked for news.
TEST_P(FlowTest, ASessionThatEndsLeavesNothingOnAnyShard) {
  const TopicId topic = make_topic("t", 4);
  RawClient client = connect();
  std::vector<fb::FetchPartition> all;
  std::vector<fb::ForgottenPartition> left;
  for (std::int32_t i = 0; i < 4; ++i) {
    all.push_back(fetch_from({topic, PartitionIndex(i)}, 0));
    left.emplace_back(uuid_of(topic), i);
  }
  const std::uint64_t session = session_of(client.fetch({.changed = {all.front()}}));
  const std::uint64_t parked = client.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  // Behind a parked fetch nothing is asked for what these two name and leave.
  const auto [naming, leaving] =
      client.send_fetches({.session = session, .changed = all, .max_wait_ms = kLongWaitMs},
                          {.session = session, .forgotten = left, .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(client.fetch({.session = session, .close_session = true}).code(), ErrorCode::kOk);
  for (const std::uint64_t id : {parked, naming, leaving}) client.receive(id);
  wait_until([this] { return sum_of("tidelog_fetch_readers") == 0; });
}

TIDELOG_WITH_SHARDS(FlowTest);

}  // namespace
}  // namespace tidelog::broker
