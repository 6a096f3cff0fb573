// The client library and the shards of a real broker: whose connections carry whose records, as the
// broker's own metrics tell it.
#include <gmock/gmock.h>
#include <httplib.h>

#include <numeric>
#include <regex>

#include "tests/integration/client_broker_fixture.h"

namespace tidelog {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::SizeIs;

class ClientShardsTest : public ClientBrokerTest {
 protected:
  ClientShardsTest() { has_admin_pages_ = true; }

  // One metric of all shards, by shard.
  std::vector<double> metric(const std::string& name) const {
    httplib::Client http("127.0.0.1", broker_->admin_port());
    const auto page = http.Get("/metrics");
    std::vector<double> values;
    if (!page) return values;
    const std::regex line(name + "\\{shard=\"(\\d+)\"\\} (\\S+)");
    for (auto at = std::sregex_iterator(page->body.begin(), page->body.end(), line);
         at != std::sregex_iterator(); ++at) {
      const auto shard = static_cast<std::size_t>(std::stoul((*at)[1]));
      if (values.size() <= shard) values.resize(shard + 1);
      values[shard] = std::stod((*at)[2]);
    }
    return values;
  }

  // `count` records of `size` bytes to each partition, all acknowledged.
  static void produce_all(client::Producer& producer, std::int32_t partitions, int count,
                          std::size_t size) {
    std::vector<std::future<client::Result<client::Delivery>>> pending;
    for (int i = 0; i < count * partitions; ++i) {
      pending.push_back(producer.produce(
          {.topic = "t", .value = std::string(size, 'x'), .partition = i % partitions}));
    }
    for (auto& one : pending) {
      const auto delivery = one.get();
      ASSERT_TRUE(delivery.ok()) << delivery.error().to_string();
    }
  }
};

TEST_F(ClientShardsTest, GetTheirRecordsAndFetchesOverConnectionsOfTheirOwn) {
  constexpr std::int32_t kPartitions = 4;
  constexpr std::size_t kBytes = 50 * 1000;
  with_shards(2);
  create_topic("t", kPartitions);
  ASSERT_THAT(metric("tidelog_partitions"), SizeIs(2));
  {
    client::Producer producer({.connect = connect()});
    produce_all(producer, kPartitions, 50, 1000);
    EXPECT_THAT(metric("tidelog_connections"), ElementsAre(1, 1));
    const std::vector<double> received = metric("tidelog_received_bytes_total");
    const std::vector<double> produced = metric("tidelog_produced_bytes_total");
    ASSERT_THAT(produced, SizeIs(2));
    // A hash places the partitions; both shards have some of four.
    EXPECT_THAT(produced, Each(Ge(kBytes)));
    for (std::size_t i = 0; i < 2; ++i) EXPECT_GE(received[i], produced[i]) << i;
  }
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", kPartitions)).ok());
  EXPECT_THAT(read(consumer, 200), SizeIs(200));
  const std::vector<double> sent = metric("tidelog_sent_bytes_total");
  const std::vector<double> fetched = metric("tidelog_fetched_bytes_total");
  ASSERT_THAT(fetched, SizeIs(2));
  for (std::size_t i = 0; i < 2; ++i) EXPECT_GE(sent[i], fetched[i]) << i;
}

TEST_F(ClientShardsTest, MayBeFewerOrMoreWhenTheBrokerComesBack) {
  constexpr std::int32_t kPartitions = 8;
  with_shards(3);
  create_topic("t", kPartitions);
  client::Producer producer({.connect = connect()});
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", kPartitions)).ok());
  for (const int shards : {3, 1, 2, 4}) {
    SCOPED_TRACE(shards);
    with_shards(shards);
    produce_all(producer, kPartitions, 3, 100);
    EXPECT_THAT(read(consumer, 3 * kPartitions), SizeIs(3 * kPartitions));
    // By now both know where the partitions are.
    produce_all(producer, kPartitions, 20, 1000);
    EXPECT_THAT(read(consumer, 20 * kPartitions), SizeIs(20 * kPartitions));
  }
  EXPECT_TRUE(producer.close(60s));
}

TEST_F(ClientShardsTest, ShareConnectionsWhereTheBrokerAllowsFew) {
  constexpr std::int32_t kPartitions = 16;
  connections_per_address_max_ = 3;
  with_shards(4);
  create_topic("t", kPartitions);
  {
    client::Producer producer({.connect = connect()});
    produce_all(producer, kPartitions, 10, 100);
    EXPECT_TRUE(producer.close(60s));
  }
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", kPartitions)).ok());
  EXPECT_THAT(read(consumer, 10 * kPartitions), SizeIs(10 * kPartitions));
  std::vector<double> refused = metric("tidelog_refused_connections_total");
  EXPECT_GE(std::accumulate(refused.begin(), refused.end(), 0.0), 1.0);
}

}  // namespace
}  // namespace tidelog
