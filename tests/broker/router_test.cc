#include "broker/router.h"

#include <gtest/gtest.h>

#include <vector>

#include "wire/transport/asio_transport.h"

namespace tidelog::broker {
namespace {

TEST(RouterTest, PartitionsOfATopicSpreadEvenly) {
  for (const std::size_t shards : {1U, 2U, 3U, 8U}) {
    std::vector<int> count(shards, 0);
    const TopicId topic = TopicId::random();
    for (std::int32_t i = 0; i < 240; ++i) {
      ++count[shard_of_partition({topic, PartitionIndex(i)}, shards)];
    }
    for (const int n : count) EXPECT_EQ(n, 240 / static_cast<int>(shards));
  }
}

TEST(RouterTest, WorkForThisShardRunsAtOnceAndForOthersInOrderAfterAFlush) {
  wire::AsioExecutor here;
  wire::AsioExecutor there;
  Router router(0, {{nullptr, &here}, {nullptr, &there}});
  std::vector<int> ran;
  router.send(0, [&ran](Shard*) { ran.push_back(0); });
  EXPECT_EQ(ran, std::vector<int>{0});
  for (int i = 1; i <= 3; ++i) router.send(1, [&ran, i](Shard*) { ran.push_back(i); });
  there.post([&there] { there.stop(); });
  there.run();
  EXPECT_EQ(ran.size(), 1U) << "nothing is posted before the flush";
  router.flush();
  there.post([&there] { there.stop(); });
  there.run();
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2, 3}));
}

}  // namespace
}  // namespace tidelog::broker
