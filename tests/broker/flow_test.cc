// What a broker does so that no client can hurt the others: budgets, limits, quotas.
#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/broker/fetch_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class FlowTest : public FetchTest {
 protected:
  static flatbuffers::FlatBufferBuilder ping() {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreatePingRequest(to));
    return to;
  }
  // A metadata request of about this size, all of it table.
  static flatbuffers::FlatBufferBuilder large_metadata(std::size_t bytes) {
    flatbuffers::FlatBufferBuilder to;
    const std::vector<std::string> names = {std::string(bytes, 'x')};
    to.Finish(fb::CreateMetadataRequest(to, to.CreateVectorOfStrings(names)));
    return to;
  }
  static std::string text_of_notice(RawClient& client, ErrorCode code) {
    const std::optional<Answer> notice = client.receive();
    if (!notice || notice->prefix.correlation != 0) return "(no notice)";
    EXPECT_EQ(code_of(notice->table<fb::Notice>().status()), code);
    return message_of(notice->table<fb::Notice>().status());
  }
  void wait_until(const std::function<bool()>& holds) {
    const auto give_up = steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) ASSERT_LT(steady_clock::now(), give_up);
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

// Its memory goes to those who wait for it.
TEST_P(FlowTest, AFrameThatArrivesSlowlyIsGivenUpWhenOthersNeedItsMemory) {
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

TEST_P(FlowTest, SlowConsumersLeaveMemoryForTheOthers) {
  stop();
  fetch_memory_bytes_ = 4 << 20;
  start();
  const TopicPartition id = make_partition("t");
  RawClient producer = connect();
  constexpr std::int64_t kBatches = 200;
  for (std::int64_t i = 0; i < kBatches; ++i) producer.produce(id, make_large_batch(id, 100'000));
  // Each asks for more than the sockets hold and takes nothing.
  std::vector<RawClient> slow;
  for (int i = 0; i < 12; ++i) {
    slow.push_back(connect());
    const std::uint64_t session =
        session_of(slow.back().fetch({.changed = {fetch_from(id, kBatches)}}));
    slow.back().send_fetch(
        {.session = session, .changed = {fetch_from(id, 0)}, .max_wait_ms = 60'000});
    for (int n = 0; n < 20; ++n) {
      slow.back().send_fetch({.session = session, .max_wait_ms = 60'000});
    }
    slow.back().await_bytes();
  }
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

TEST_P(FlowTest, AConsumerThatTakesTooLittleIsGivenUp) {
  stop();
  limits_.send_stall_timeout = milliseconds(300);
  start();
  const TopicPartition id = make_partition("t");
  RawClient producer = connect();
  for (int i = 0; i < 30; ++i) producer.produce(id, make_large_batch(id, 1'000'000));
  RawClient slow = connect();
  const std::uint64_t session = session_of(slow.fetch({.changed = {fetch_from(id, 30)}}));
  slow.send_fetch({.session = session, .changed = {fetch_from(id, 0)}, .max_wait_ms = 60'000});
  for (int n = 0; n < 20; ++n) slow.send_fetch({.session = session, .max_wait_ms = 60'000});
  slow.await_bytes();
  wait_until([this] { return sum_of("tidelog_connections") == 1; });
  EXPECT_EQ(producer.call(wire::ApiKey::kPing, ping()).code(), ErrorCode::kOk);
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

// Who leaves before the answer still has its changes made: they wait in a queue.
class ChangesTest : public FlowTest {
 protected:
  void SetUp() override {
    limits_.requests_in_flight_max = 10'000;
    limits_.bytes_in_flight_max = 1 << 30;
    start();
    make_topic("t");
  }

  struct Outcome {
    int made = 0;
    int refused = 0;
  };
  // Sends so many changes at once, each of which sets retention.ms so many times, by values of this
  // length.
  Outcome change(int changes, int settings, std::size_t value_bytes) {
    RawClient client = connect();
    std::vector<std::byte> requests;
    for (int i = 0; i < changes; ++i) {
      flatbuffers::FlatBufferBuilder to;
      const auto name = to.CreateString("retention.ms");
      std::string number = std::to_string(1'000'000 + i);
      number.insert(0, value_bytes - number.size(), '0');
      std::vector<flatbuffers::Offset<fb::Setting>> named;
      for (int n = 0; n < settings; ++n) {
        named.push_back(fb::CreateSetting(to, name, to.CreateString(number)));
      }
      const auto listed = to.CreateVector(named);
      to.Finish(fb::CreateAlterTopicRequest(to, to.CreateString("t"), listed));
      const std::vector<std::byte> request = client.encode(wire::ApiKey::kAlterTopic, to, {});
      requests.insert(requests.end(), request.begin(), request.end());
    }
    client.send_bytes(requests);
    Outcome outcome;
    while (outcome.made + outcome.refused < changes) {
      const std::optional<Answer> answer = client.receive();
      EXPECT_TRUE(answer);
      if (!answer) break;
      if (answer->code() == ErrorCode::kOk) {
        ++outcome.made;
        continue;
      }
      ++outcome.refused;
      EXPECT_EQ(answer->code(), ErrorCode::kOverloaded) << answer->message();
    }
    return outcome;
  }
};

TEST_P(ChangesTest, TooManyAtOnceAreRefused) {
  const Outcome outcome = change(3'000, 1, 7);
  EXPECT_GE(outcome.made, 1000);
  EXPECT_GT(outcome.refused, 0);
  make_topic("another");
}

TEST_P(ChangesTest, ThatNameTooMuchAtOnceAreRefused) {
  const Outcome outcome = change(600, 100, 1000);
  EXPECT_GE(outcome.made, (16 << 20) / (100 * 1012));
  EXPECT_GT(outcome.refused, 0);
  make_topic("another");
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

class QuotaTest : public FlowTest {
 protected:
  void SetUp() override {
    change_settings_ = [](BrokerSettings& settings) {
      settings.quota_in_bytes = 512 << 10;
      settings.quota_out_bytes = 512 << 10;
    };
    start();
  }
};

TEST_P(QuotaTest, AProducerAboveItsQuotaIsToldAndDelayedNotRefused) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  // Two seconds' worth, twice.
  client.produce(id, make_large_batch(id, 1'000'000));
  const Answer told = client.receive(client.send_produce({{id, make_large_batch(id, 1'000'000)}}));
  EXPECT_EQ(told.code(), ErrorCode::kOk);
  const std::uint32_t throttle_ms = told.table<fb::ProduceAnswer>().status()->throttle_ms();
  EXPECT_GT(throttle_ms, 0U);
  EXPECT_LE(throttle_ms, 3000U);
  // Who does not wait is not read; what it sent counts all the same, once its time has come.
  const auto begin = steady_clock::now();
  EXPECT_EQ(client.produce(id, make_batch(id, {"later"})), 2);
  EXPECT_GE(steady_clock::now() - begin, milliseconds(throttle_ms) / 2);
  EXPECT_GE(sum_of("tidelog_throttled_total"), 1U);
}

TEST_P(QuotaTest, AClientThatConnectsAnewGoesOnWaiting) {
  const TopicPartition id = make_partition("t");
  std::uint32_t throttle_ms = 0;
  {
    RawClient client = connect();
    const Answer told =
        client.receive(client.send_produce({{id, make_large_batch(id, 2'000'000)}}));
    throttle_ms = told.table<fb::ProduceAnswer>().status()->throttle_ms();
    ASSERT_GT(throttle_ms, 1000U);
  }
  const auto begin = steady_clock::now();
  RawClient again = connect();
  EXPECT_EQ(again.produce(id, make_batch(id, {"later"})), 1);
  EXPECT_GE(steady_clock::now() - begin, milliseconds(throttle_ms) / 2);
}

// It is the broker that does not read.
TEST_P(QuotaTest, AClientThatWaitsBecauseOfItsQuotaIsNotIdle) {
  stop();
  limits_.idle_timeout = milliseconds(700);
  start();
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  // Three seconds' worth, of which one is free.
  const Answer told = client.receive(client.send_produce({{id, make_large_batch(id, 1'500'000)}}));
  EXPECT_GT(told.table<fb::ProduceAnswer>().status()->throttle_ms(), 1400U);
  EXPECT_EQ(client.produce(id, make_batch(id, {"later"})), 1);
  EXPECT_TRUE(client.closes()) << "from then on it is";
}

TEST_P(QuotaTest, ConnectionsOfOneClientShareItsQuotaOnWhateverShardTheyAre) {
  const TopicPartition id = make_partition("t");
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) {
    RawClient& client = clients.emplace_back(broker_->port());
    EXPECT_EQ(client.hello(i % GetParam()).code(), ErrorCode::kOk);
  }
  std::uint32_t throttle_ms = 0;
  for (RawClient& client : clients) {
    const Answer answer =
        client.receive(client.send_produce({{id, make_large_batch(id, 600'000)}}));
    throttle_ms = answer.table<fb::ProduceAnswer>().status()->throttle_ms();
  }
  EXPECT_GT(throttle_ms, 0U);
}

// It had its say before the other one used the quota up.
TEST_P(QuotaTest, NoConnectionOfAClientAboveItsQuotaIsRead) {
  const TopicPartition id = make_partition("t");
  RawClient waits = connect();
  RawClient client = connect();
  const Answer told = client.receive(client.send_produce({{id, make_large_batch(id, 1'200'000)}}));
  const std::uint32_t throttle_ms = told.table<fb::ProduceAnswer>().status()->throttle_ms();
  ASSERT_GT(throttle_ms, 500U);
  const auto begin = steady_clock::now();
  EXPECT_EQ(waits.produce(id, make_batch(id, {"later"})), 1);
  EXPECT_GE(steady_clock::now() - begin, milliseconds(throttle_ms) / 2);
}

TEST_P(QuotaTest, AConsumerAboveItsQuotaIsToldAndItsNextAnswerWaits) {
  const TopicPartition id = make_partition("t");
  for (const char* name : {"one", "two", "three"}) {
    RawClient producer(broker_->port());
    ASSERT_EQ(producer.hello_as(name).code(), ErrorCode::kOk);
    producer.produce(id, make_large_batch(id, 1'000'000));
  }
  RawClient client = connect();
  const auto first = client.fetch(
      {.changed = {fetch_from(id, 0)}, .max_wait_ms = kLongWaitMs, .bytes_max = 2'500'000});
  EXPECT_EQ(results_of(first).at(id).values.size(), 2U);
  const std::uint32_t throttle_ms = first.table<fb::FetchAnswer>().status()->throttle_ms();
  EXPECT_GT(throttle_ms, 100U);
  const auto begin = steady_clock::now();
  const auto second = client.fetch({.session = session_of(first), .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(results_of(second).at(id).values.size(), 1U);
  EXPECT_GE(steady_clock::now() - begin, milliseconds(throttle_ms) / 2);
}

TIDELOG_WITH_SHARDS(FlowTest);
TIDELOG_WITH_SHARDS(ChangesTest);
TIDELOG_WITH_SHARDS(QuotaTest);

}  // namespace
}  // namespace tidelog::broker
