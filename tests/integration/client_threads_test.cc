// One producer, one consumer and one admin, each used by several threads at once.
#include <gmock/gmock.h>

#include <atomic>
#include <latch>
#include <thread>

#include "tests/integration/client_broker_fixture.h"

namespace tidelog {
namespace {

using namespace std::chrono_literals;
using client::Position;

class ClientThreadsTest : public ClientBrokerTest {};

TEST_F(ClientThreadsTest, ProduceEachThreadsRecordsInItsOrder) {
  constexpr std::int32_t kPartitions = 4;
  constexpr int kThreads = 6;
  constexpr int kRecords = 400;
  create_topic("t", kPartitions);
  std::atomic<int> settled{0};
  {
    client::Producer producer(
        {.connect = connect(), .batch_bytes_max = 2000, .linger = 1ms, .buffer_bytes_max = 20'000});
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        const client::Producer::Callback count = [&](const client::Result<client::Delivery>& one) {
          EXPECT_TRUE(one.ok());
          ++settled;
        };
        for (int i = 0; i < kRecords; ++i) {
          const client::Record record{
              .topic = "t", .key = std::to_string(thread), .value = std::to_string(i)};
          if (i % 3 != 0 || !producer.try_produce(record, count)) producer.produce(record, count);
          if (i % 100 == 0) EXPECT_TRUE(producer.flush(60s));
          if (i % 50 == 0) EXPECT_LE(producer.statistics().buffered_bytes, 20'000U);
        }
      });
    }
    threads.clear();
    EXPECT_TRUE(producer.close(60s));
  }
  EXPECT_EQ(settled.load(), kThreads * kRecords);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", kPartitions)).ok());
  std::map<std::string, int> next;
  for (const Read& record : read(consumer, kThreads * kRecords)) {
    EXPECT_EQ(*record.value, std::to_string(next[*record.key]++));
  }
  EXPECT_EQ(next.size(), static_cast<std::size_t>(kThreads));
}

TEST_F(ClientThreadsTest, MoveAConsumerWhileOthersPollIt) {
  constexpr std::int32_t kPartitions = 3;
  constexpr int kRecords = 300;
  create_topic("t", kPartitions);
  {
    client::Producer producer({.connect = connect(), .batch_bytes_max = 500});
    for (int i = 0; i < kRecords; ++i) {
      producer.produce({.topic = "t", .value = std::to_string(i), .partition = i % kPartitions},
                       nullptr);
    }
    ASSERT_TRUE(producer.close(60s));
  }
  client::Consumer consumer({.connect = connect(), .prefetch_bytes_max = 4096});
  ASSERT_TRUE(consumer.assign(all("t", kPartitions)).ok());
  std::atomic<bool> stopping{false};
  std::atomic<std::size_t> polled{0};
  {
    std::vector<std::jthread> threads;
    threads.reserve(2);
    for (int thread = 0; thread < 2; ++thread) {
      threads.emplace_back([&] {
        while (!stopping.load()) {
          const client::ConsumedRecords records = consumer.poll(1h, 10);
          EXPECT_TRUE(records.errors.empty());
          for (const auto& record : records.records) {
            EXPECT_EQ(record.value, std::to_string(record.offset * kPartitions + record.partition));
          }
          polled += records.records.size();
        }
      });
    }
    std::vector<std::jthread> movers;
    movers.reserve(kPartitions);
    for (std::int32_t partition = 0; partition < kPartitions; ++partition) {
      movers.emplace_back([&, partition] {
        for (int i = 0; i < 30; ++i) {
          EXPECT_TRUE(consumer.seek("t", partition, Position::offset(i)).ok());
          EXPECT_TRUE(consumer.pause("t", partition).ok());
          EXPECT_GE(consumer.position("t", partition).value(), i);
          EXPECT_TRUE(consumer.resume("t", partition).ok());
          EXPECT_LE(consumer.lag("t", partition).value_or(0), kRecords / kPartitions);
          EXPECT_TRUE(consumer.resolve("t", partition, Position::end()).ok());
        }
      });
    }
    movers.clear();
    // After the last seek everything behind it comes.
    for (std::int32_t partition = 0; partition < kPartitions; ++partition) {
      while (consumer.position("t", partition) != kRecords / kPartitions) {
        std::this_thread::yield();
      }
    }
    stopping = true;
    consumer.close(10s);  // wakes both
  }
  EXPECT_GT(polled.load(), 0U);
}

TEST_F(ClientThreadsTest, AdministerTogether) {
  client::Admin admin(connect());
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      const std::string name = "t" + std::to_string(thread);
      for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(admin.create_topic({.name = name}).ok());
        EXPECT_EQ(admin.describe_topic(name)->name, name);
        EXPECT_TRUE(admin.list_topics().ok());
        EXPECT_TRUE(admin.delete_topic(name).ok());
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(admin.list_topics()->empty());
}

TEST_F(ClientThreadsTest, WakeTheThreadThatPolls) {
  create_topic("t", 1);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", 1)).ok());
  std::latch polling(1);
  std::jthread reader([&] {
    polling.count_down();
    EXPECT_TRUE(consumer.poll(1h).empty());
  });
  polling.wait();
  consumer.wakeup();  // the poll that waits, or is about to
  reader.join();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(consumer.poll(10ms).empty());  // the next one waits again
  EXPECT_GE(std::chrono::steady_clock::now() - start, 10ms);
}

}  // namespace
}  // namespace tidelog
