#include "client/broker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/scripted_broker.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;

class BrokerPoolTest : public testing::Test {
 protected:
  static constexpr std::uint16_t kPort = 9700;

  PoolOptions options(std::uint16_t port) {
    PoolOptions pool;
    pool.seeds = {{"sim", port}};
    pool.log = [this](const std::string& line) { lines.push_back(line); };
    return pool;
  }

  sim::SimExecutor executor;
  sim::SimNetwork network{executor, 5};
  BufferPool buffers{1024 * 1024};
  std::vector<std::string> lines;
};

TEST_F(BrokerPoolTest, OpensNothingMoreOnceItWasShutDown) {
  for (const std::uint16_t port : {kPort, std::uint16_t{1}}) {  // a broker, and nobody
    for (int steps = 0; steps < 12; ++steps) {
      SCOPED_TRACE(steps);
      sim::ScriptedBroker broker(executor, network, kPort);
      {
        BrokerPool pool(network, executor, buffers, options(port), 1);
        pool.find_any();
        for (int i = 0; i < steps; ++i) executor.step();
        pool.shut_down(Error(ErrorCode::kCancelled, "enough"));
        const std::uint64_t connects = network.connects();
        lines.clear();
        executor.run_for(30s);
        EXPECT_EQ(network.connects(), connects);
        EXPECT_EQ(network.open_connections(kPort), 0U);
        EXPECT_THAT(lines, testing::IsEmpty());
      }
      broker.stop();
      executor.run_for(1s);
    }
  }
}

TEST_F(BrokerPoolTest, GoesOnByTheAddressItWasStartedWithWhereTheAdvertisedOneLeadsNowhere) {
  sim::ScriptedBroker broker(executor, network, kPort);
  {
    BrokerPool pool(network, executor, buffers, options(kPort), 1);
    ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }));
    pool.set_brokers({{BrokerId(1), "sim", 1}});
    const BrokerShard shard{BrokerId(1), 0};
    ASSERT_TRUE(executor.run_until([&] { return pool.find(shard, Lane::kFetch) != nullptr; }));
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_THAT(lines[0], testing::HasSubstr("broker 1 says that its address is sim:1, which "
                                             "fails: "));
    EXPECT_THAT(lines[0], testing::HasSubstr("; going on by sim:9700, where it answers; see its "
                                             "setting advertised.listen"));
    EXPECT_FALSE(pool.last_failure().has_value());
    // Once it is known, nothing goes astray any more.
    broker.close_with_notice("enough");
    executor.run_until([&] { return pool.find_open(shard, Lane::kFetch) == nullptr; });
    const std::uint64_t connects = network.connects();
    lines.clear();
    ASSERT_TRUE(executor.run_until([&] { return pool.find(shard, Lane::kFetch) != nullptr; }));
    EXPECT_EQ(network.connects(), connects + 1);
    EXPECT_THAT(lines, testing::Each(testing::Not(testing::HasSubstr("advertised.listen"))));
    // Another address that metadata tells is tried like the first.
    pool.set_brokers({{BrokerId(1), "sim", 2}});
    broker.close_with_notice("enough");
    executor.run_until([&] { return pool.find_open(shard, Lane::kFetch) == nullptr; });
    ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }));
    ASSERT_TRUE(executor.run_until([&] { return pool.find(shard, Lane::kFetch) != nullptr; }));
    EXPECT_THAT(lines, testing::Contains(testing::HasSubstr("its address is sim:2, which fails")));
    broker.stop();  // what cannot be reached by any address has another fault
    executor.run_for(10ms);
    lines.clear();
    for (int tries = 0; tries < 5; ++tries) {
      pool.find(shard, Lane::kFetch);
      pool.find_any();
      executor.run_for(5s);
    }
    EXPECT_THAT(lines, testing::Contains(testing::HasSubstr("cannot reach broker 1")));
    EXPECT_THAT(lines, testing::Each(testing::Not(testing::HasSubstr("advertised.listen"))));
  }
  executor.run_for(1s);
}

TEST_F(BrokerPoolTest, GoesByAnotherAddressToNoBrokerButTheOneThatAnsweredThere) {
  sim::ScriptedBroker broker(executor, network, kPort);
  sim::ScriptedBroker other(executor, network, kPort + 1, 2);
  {
    BrokerPool pool(network, executor, buffers, options(kPort), 1);
    ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }));
    // Where broker 1 should be answers broker 2, and nobody where that should be.
    pool.set_brokers({{BrokerId(1), "sim", kPort + 1}, {BrokerId(2), "sim", 1}});
    for (int tries = 0; tries < 5; ++tries) {
      EXPECT_EQ(pool.find({BrokerId(2), 0}, Lane::kFetch), nullptr);
      executor.run_for(5s);
    }
    EXPECT_THAT(lines, testing::Each(testing::HasSubstr("cannot reach broker 2")));
    lines.clear();
    Connection* found = nullptr;
    ASSERT_TRUE(executor.run_until(
        [&] { return (found = pool.find({BrokerId(1), 0}, Lane::kFetch)) != nullptr; }));
    EXPECT_EQ(found->hello().broker_id, BrokerId(1));
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_THAT(lines[0], testing::HasSubstr("at the address of broker 1 answers broker 2; going "
                                             "on by sim:9700"));
    broker.stop();
    other.stop();
  }
  executor.run_for(1s);
}

TEST_F(BrokerPoolTest, AnAddressThatServesAConnectionIsNotGoneAround) {
  sim::ScriptedBroker broker(executor, network, kPort);
  sim::ScriptedBroker same(executor, network, kPort + 1);  // by its other address
  {
    BrokerPool pool(network, executor, buffers, options(kPort), 1);
    ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }));
    pool.set_brokers({{BrokerId(1), "sim", kPort + 1}});
    same.settings.shards = 2;
    same.settings.connections_max = 1;
    ASSERT_TRUE(
        executor.run_until([&] { return pool.find({BrokerId(1), 0}, Lane::kFetch) != nullptr; }));
    ASSERT_TRUE(
        executor.run_until([&] { return pool.find({BrokerId(1), 1}, Lane::kFetch) != nullptr; }));
    EXPECT_THAT(lines, testing::Each(testing::HasSubstr("it shares another's")));
    EXPECT_THAT(broker.counts.hellos, 1);
    broker.stop();
    same.stop();
  }
  executor.run_for(1s);
}

TEST_F(BrokerPoolTest, TellsOnceEachTimeThatOnlyAnotherClusterAnswers) {
  sim::ScriptedBroker broker(executor, network, kPort);
  sim::ScriptedBroker other(executor, network, kPort + 1, 2);
  {
    PoolOptions both = options(kPort);
    both.seeds.push_back({"sim", kPort + 1});
    other.settings.cluster = 7;
    BrokerPool pool(network, executor, buffers, both, 1);
    ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }));
    broker.stop();
    // One of the addresses is refused: the cluster may come back there.
    executor.run_until([&] { return pool.find_any() == nullptr && pool.rounds_failed() > 3; });
    EXPECT_FALSE(pool.take_wrong_cluster().has_value());
    broker.settings.cluster = 7;
    broker.start();
    const std::uint64_t rounds = pool.rounds_failed();
    executor.run_until([&] {
      pool.find_any();
      return pool.rounds_failed() > rounds + 1;
    });
    const std::optional<Error> wrong = pool.take_wrong_cluster();
    ASSERT_TRUE(wrong.has_value());
    EXPECT_EQ(wrong->code(), ErrorCode::kWrongCluster);
    EXPECT_FALSE(pool.take_wrong_cluster().has_value());
    broker.settings.cluster = 42;
    ASSERT_TRUE(executor.run_until([&] { return pool.find_any() != nullptr; }));
    EXPECT_FALSE(pool.take_wrong_cluster().has_value());
    pool.shut_down(Error(ErrorCode::kCancelled, "enough"));
  }
  broker.stop();
  other.stop();
  executor.run_for(1s);
}

}  // namespace
}  // namespace tidelog::client_core
