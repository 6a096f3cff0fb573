// Clients above their quotas, of a whole broker.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "tests/broker/fetch_fixture.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class QuotaTest : public FetchTest {
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

TIDELOG_WITH_SHARDS(QuotaTest);

}  // namespace
}  // namespace tidelog::broker
