#include "client/cluster_metadata.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/sim/scripted_broker.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kPort = 9700;

PoolOptions options() {
  PoolOptions pool;
  pool.seeds = {{"sim", kPort}};
  return pool;
}

class ClusterMetadataTest : public testing::Test {
 protected:
  // More than one request may name.
  static constexpr int kTopics = 2 * static_cast<int>(wire::kPartitionsPerRequestMax) + 10;

  ClusterMetadataTest() {
    pool.on_change([this] { metadata.advance(); });
    metadata.on_update([this] {
      if (updated) updated();
    });
  }
  ~ClusterMetadataTest() override {
    pool.shut_down(Error(ErrorCode::kCancelled, "enough"));
    broker.stop();
    executor.run_for(1s);
  }
  static std::string name(int i) { return fmt::format("topic-{:05}", i); }
  void want_all() {
    for (int i = 0; i < kTopics; ++i) metadata.want(name(i));
  }
  int known() const {
    int count = 0;
    for (int i = 0; i < kTopics; ++i) count += metadata.find(name(i)) != nullptr ? 1 : 0;
    return count;
  }

  sim::SimExecutor executor;
  sim::SimNetwork network{executor, 5};
  sim::ScriptedBroker broker{executor, network, kPort};
  BufferPool buffers{1024 * 1024};
  BrokerPool pool{network, executor, buffers, options(), 1};
  ClusterMetadata metadata{executor, pool, {}, 1};
  std::function<void()> updated;
};

TEST_F(ClusterMetadataTest, AsksForMoreTopicsThanOneRequestMayName) {
  want_all();
  executor.run_for(2s);
  EXPECT_EQ(known(), kTopics);
  EXPECT_EQ(broker.counts.metadata, 3);
  executor.run_for(60s);
  EXPECT_EQ(broker.counts.metadata, 3);
}

TEST_F(ClusterMetadataTest, AsksForAllAgainWhereThatWasWantedBetweenTwoPages) {
  want_all();
  bool wished = false;
  updated = [&] {
    if (!std::exchange(wished, true)) metadata.refresh();
  };
  executor.run_for(2s);
  EXPECT_EQ(metadata.find(name(0))->as_of, 4U);
  EXPECT_EQ(metadata.find(name(kTopics - 1))->as_of, 6U);
  EXPECT_EQ(broker.counts.metadata, 6);
}

TEST_F(ClusterMetadataTest, AsksForTheRestAlthoughSomeOfItIsNotWantedAnyMore) {
  want_all();
  updated = [&] {
    for (int i = static_cast<int>(wire::kPartitionsPerRequestMax); i < kTopics - 1; ++i) {
      metadata.forget(name(i));
    }
  };
  executor.run_for(2s);
  EXPECT_NE(metadata.find(name(kTopics - 1)), nullptr);
  EXPECT_EQ(broker.counts.metadata, 2);
}

}  // namespace
}  // namespace tidelog::client_core
