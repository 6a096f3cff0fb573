// The client library while the broker goes and comes back.
#include <gmock/gmock.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "tests/integration/client_broker_fixture.h"

namespace tidelog {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::HasSubstr;

using Outcome = client::Result<client::Delivery>;

class ClientRestartTest : public ClientBrokerTest {};

TEST_F(ClientRestartTest, DeliversEverythingOnceAcrossRestarts) {
  constexpr std::int32_t kPartitions = 4;
  create_topic("t", kPartitions);
  std::mutex mutex;
  std::map<std::int32_t, std::vector<std::pair<std::int64_t, int>>> acknowledged;
  std::atomic<int> settled{0};
  std::atomic<bool> stopping{false};
  std::atomic<int> sent{0};
  client::Producer producer({.connect = connect(), .batch_bytes_max = 4096, .linger = 1ms});
  client::Consumer tail({.connect = connect()});
  ASSERT_TRUE(tail.assign(all("t", kPartitions)).ok());
  std::thread user([&] {
    while (!stopping.load()) {
      const int number = sent++;
      producer.produce(
          {.topic = "t", .value = std::to_string(number), .partition = number % kPartitions},
          [&, number](const Outcome& outcome) {
            const std::lock_guard lock(mutex);
            ++settled;
            ASSERT_TRUE(outcome.ok()) << outcome.error().to_string();
            acknowledged[outcome->partition].emplace_back(outcome->offset, number);
          });
      if (number % 50 == 0) std::this_thread::yield();
    }
  });
  std::vector<Read> tailed;
  for (int restart = 0; restart < 3; ++restart) {
    const int before = settled.load();
    while (settled.load() < before + 2000) {
      for (const auto& record : tail.poll(1ms).records) {
        tailed.push_back(
            {record.partition, record.offset, std::nullopt, std::string(*record.value), 0});
      }
    }
    stop_broker();
    start_broker();
  }
  const int before = settled.load();
  while (settled.load() < before + 2000) std::this_thread::yield();
  stopping = true;
  user.join();
  EXPECT_TRUE(producer.close(60s));
  EXPECT_EQ(settled.load(), sent.load());

  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", kPartitions)).ok());
  std::size_t total = 0;
  std::map<std::int32_t, std::vector<int>> logs;
  for (std::int32_t partition = 0; partition < kPartitions; ++partition) {
    total += static_cast<std::size_t>(*consumer.resolve("t", partition, Position::end()).value());
  }
  for (const Read& record : read(consumer, total)) {
    logs[record.partition].push_back(std::stoi(*record.value));
  }
  for (const auto& [partition, log] : logs) {
    for (std::size_t i = 1; i < log.size(); ++i) {
      ASSERT_LT(log[i - 1], log[i]) << "partition " << partition << " is out of order";
    }
    for (const auto& [offset, number] : acknowledged[partition]) {
      ASSERT_LT(static_cast<std::size_t>(offset), log.size());
      EXPECT_EQ(log[static_cast<std::size_t>(offset)], number);
    }
    EXPECT_EQ(acknowledged[partition].size(), log.size());
  }

  // The consumer that was there all the time saw the same, without loss or repetition.
  while (tailed.size() < total) {
    const client::ConsumedRecords polled = tail.poll(10s);
    ASSERT_FALSE(polled.empty());
    ASSERT_TRUE(polled.errors.empty()) << polled.errors[0].error.to_string();
    for (const auto& record : polled.records) {
      tailed.push_back(
          {record.partition, record.offset, std::nullopt, std::string(*record.value), 0});
    }
  }
  EXPECT_EQ(tailed.size(), total);
  std::map<std::int32_t, std::int64_t> next;
  for (const Read& record : tailed) {
    ASSERT_EQ(record.offset, next[record.partition]++);
    EXPECT_EQ(std::stoi(*record.value),
              logs[record.partition][static_cast<std::size_t>(record.offset)]);
  }
}

TEST_F(ClientRestartTest, HoldsRecordsUntilTheBrokerIsThere) {
  create_topic("t", 1);
  stop_broker();
  client::Producer producer({.connect = connect()});
  auto future = producer.produce({.topic = "t", .value = "patient"});
  EXPECT_FALSE(producer.flush(300ms));
  start_broker();
  const Outcome outcome = future.get();
  ASSERT_TRUE(outcome.ok()) << outcome.error().to_string();
}

TEST_F(ClientRestartTest, ClosesWithinItsDeadlineWithoutABroker) {
  stop_broker();
  std::atomic<int> cancelled{0};
  client::Producer producer({.connect = connect()});
  for (int i = 0; i < 100; ++i) {
    producer.produce({.topic = "t", .value = "x"}, [&](const Outcome& outcome) {
      EXPECT_EQ(outcome.error().name, "CANCELLED");
      ++cancelled;
    });
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(producer.close(200ms));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(cancelled.load(), 100);
  EXPECT_FALSE(producer.produce({.topic = "t", .value = "late"}).get().ok());
}

TEST_F(ClientRestartTest, SaysThatNoBrokerCanBeReached) {
  stop_broker();
  client::Admin admin(connect());
  const auto topics = admin.list_topics();
  ASSERT_FALSE(topics.ok());
  EXPECT_EQ(topics.error().name, "CONNECTION_FAILED");
  EXPECT_THAT(topics.error().message, HasSubstr(std::to_string(port_)));
  EXPECT_FALSE(topics.error().hint.empty());
}

TEST_F(ClientRestartTest, SettlesEverythingWhileItsTopicIsDeletedAndMadeAgain) {
  create_topic("t", 16);
  std::atomic<int> acknowledged{0};
  std::atomic<int> refused{0};
  std::atomic<bool> stopping{false};
  client::Producer producer({.connect = connect(), .batch_bytes_max = 2000, .linger = 1ms});
  int sent = 0;
  std::thread user([&] {
    for (; !stopping.load(); ++sent) {
      producer.produce({.topic = "t", .value = std::to_string(sent)}, [&](const Outcome& outcome) {
        if (outcome.ok()) {
          ++acknowledged;
        } else {
          EXPECT_THAT(outcome.error().message, HasSubstr("t"));
          ++refused;
        }
      });
    }
  });
  while (acknowledged.load() < 1000) std::this_thread::yield();
  client::Admin admin(connect());
  const client::Status deleted = admin.delete_topic("t");
  EXPECT_TRUE(deleted.ok()) << deleted.error().to_string();
  while (deleted.ok() && refused.load() == 0) std::this_thread::yield();
  const client::Status made = admin.create_topic({.name = "t", .partitions = 1});
  EXPECT_TRUE(made.ok()) << made.error().to_string();
  const int before = acknowledged.load();
  while (made.ok() && acknowledged.load() < before + 1000) std::this_thread::yield();
  stopping = true;
  user.join();
  EXPECT_TRUE(producer.close(60s));
  EXPECT_EQ(acknowledged.load() + refused.load(), sent);
  client::Consumer consumer({.connect = connect()});
  EXPECT_GE(*consumer.resolve("t", 0, Position::end()).value(), 1000);
}

}  // namespace
}  // namespace tidelog
