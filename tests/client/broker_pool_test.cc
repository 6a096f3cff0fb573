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

}  // namespace
}  // namespace tidelog::client_core
