#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <thread>

#include "tests/integration/client_broker_fixture.h"

namespace tidelog {
namespace {

using namespace std::chrono_literals;
using client::Delivery;
using client::Position;
using testing::ElementsAre;
using testing::HasSubstr;

using Outcome = client::Result<Delivery>;

TEST_F(ClientBrokerTest, CarriesManyRecordsOverManyPartitionsInOrderOfTheirKeys) {
  constexpr std::int32_t kPartitions = 8;
  constexpr int kRecords = 100'000;
  constexpr int kKeys = 500;
  create_topic("events", kPartitions);
  std::atomic<int> acknowledged{0};
  std::atomic<int> failed{0};
  client::Producer producer({.connect = connect()});
  for (int i = 0; i < kRecords; ++i) {
    producer.produce(
        {.topic = "events", .key = "key-" + std::to_string(i % kKeys), .value = std::to_string(i)},
        [&](const Outcome& outcome) { ++(outcome.ok() ? acknowledged : failed); });
  }
  EXPECT_TRUE(producer.close(60s));
  EXPECT_EQ(acknowledged.load(), kRecords);
  EXPECT_EQ(failed.load(), 0);
  EXPECT_EQ(producer.statistics().records_acknowledged, static_cast<std::uint64_t>(kRecords));

  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("events", kPartitions)).ok());
  const std::vector<Read> records = read(consumer, kRecords);
  ASSERT_EQ(records.size(), static_cast<std::size_t>(kRecords));
  std::map<std::string, int> last;
  std::map<std::int32_t, std::int64_t> next_offset;
  for (const Read& record : records) {
    EXPECT_EQ(record.offset, next_offset[record.partition]++);
    EXPECT_EQ(record.partition, client::partition_for_key(*record.key, kPartitions));
    const int number = std::stoi(*record.value);
    const auto before = last.find(*record.key);
    if (before != last.end()) EXPECT_EQ(number, before->second + kKeys);
    last[*record.key] = number;
  }
  EXPECT_EQ(last.size(), static_cast<std::size_t>(kKeys));
  EXPECT_TRUE(consumer.poll(100ms).empty());
}

TEST_F(ClientBrokerTest, KeepsNullEmptyAndBinaryApartWithEveryCodec) {
  create_topic("shapes", 1);
  const std::string binary("\0\xff\n", 3);
  std::int64_t offset = 0;
  for (const auto codec :
       {client::Compression::kNone, client::Compression::kGzip, client::Compression::kSnappy,
        client::Compression::kLz4, client::Compression::kZstd}) {
    client::Producer producer({.connect = connect(), .compression = codec});
    const std::vector<client::Record> records = {
        {.topic = "shapes", .key = std::nullopt, .value = std::nullopt, .timestamp_ms = 1234},
        {.topic = "shapes", .key = "", .value = ""},
        {.topic = "shapes", .key = binary, .value = std::string(100'000, 'z')},
        {.topic = "shapes",
         .value = "h",
         .headers = {{"a", "1"}, {"a", std::nullopt}, {"", binary}}}};
    std::vector<std::future<Outcome>> futures;
    for (const client::Record& record : records) futures.push_back(producer.produce(record));
    for (auto& future : futures) {
      const Outcome outcome = future.get();
      ASSERT_TRUE(outcome.ok()) << outcome.error().to_string();
      EXPECT_EQ(outcome->offset, offset++);
    }
    client::Consumer consumer({.connect = connect()});
    ASSERT_TRUE(consumer.assign({{"shapes", 0, Position::offset(offset - 4)}}).ok());
    std::vector<client::ConsumedRecords> polls;
    std::vector<client::ConsumedRecord> got;
    while (got.size() < 4) {
      polls.push_back(consumer.poll(10s));
      ASSERT_FALSE(polls.back().empty());
      for (const auto& record : polls.back().records) got.push_back(record);
    }
    consumer.close(1s);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(got[i].key, records[i].key);
      EXPECT_EQ(got[i].value, records[i].value);
      ASSERT_EQ(got[i].headers.size(), records[i].headers.size());
      for (std::size_t h = 0; h < got[i].headers.size(); ++h) {
        EXPECT_EQ(got[i].headers[h].key, records[i].headers[h].key);
        EXPECT_EQ(got[i].headers[h].value, records[i].headers[h].value);
      }
    }
    EXPECT_EQ(got[0].timestamp_ms, 1234);
  }
}

TEST_F(ClientBrokerTest, RecordsOutliveTheConsumerThatReadThem) {
  create_topic("t", 1);
  client::Producer producer({.connect = connect()});
  ASSERT_TRUE(producer.produce({.topic = "t", .value = "kept"}).get().ok());
  client::ConsumedRecords records;
  {
    client::Consumer consumer({.connect = connect()});
    ASSERT_TRUE(consumer.assign({{"t", 0, Position::start()}}).ok());
    records = consumer.poll(10s);
  }
  ASSERT_EQ(records.records.size(), 1U);
  EXPECT_EQ(records.records[0].value, "kept");
  EXPECT_EQ(records.records[0].topic, "t");
}

TEST_F(ClientBrokerTest, DecompressesNoMoreThanItsBoundInOnePoll) {
  create_topic("t", 1);
  {
    client::Producer producer(
        {.connect = connect(), .compression = client::Compression::kZstd, .batch_bytes_max = 1000});
    for (int i = 0; i < 100; ++i) {
      producer.produce({.topic = "t", .value = std::string(1'000'000, '\0')}, nullptr);
    }
    ASSERT_TRUE(producer.flush(60s));
  }
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign({{"t", 0, Position::start()}}).ok());
  std::size_t count = 0;
  while (count < 100) {
    const client::ConsumedRecords polled = consumer.poll(30s);
    ASSERT_FALSE(polled.records.empty());
    EXPECT_LE(polled.records.size(), 34U);  // the last of them reaches 32 MiB
    EXPECT_EQ(polled.records.front().offset, static_cast<std::int64_t>(count));
    count += polled.records.size();
  }
}

TEST_F(ClientBrokerTest, SaysWhereReadingGoesOnBehindABatchThatIsTooLargeForIt) {
  create_topic("t", 1);
  client::Producer producer(
      {.connect = connect(), .compression = client::Compression::kZstd, .linger = 60s});
  const auto batch = [&](const std::string& value) {
    for (int i = 0; i < 3; ++i) producer.produce({.topic = "t", .value = value}, nullptr);
    ASSERT_TRUE(producer.flush(60s));
  };
  batch("first");
  batch(std::string(10'000, 'x'));
  batch("last");
  client::Consumer consumer({.connect = connect(), .uncompressed_batch_bytes_max = 1000});
  ASSERT_TRUE(consumer.assign({{"t", 0, Position::start()}}).ok());
  client::ConsumedRecords polled = consumer.poll(30s);
  std::size_t count = polled.records.size();
  while (polled.errors.empty() && !polled.empty()) {
    polled = consumer.poll(30s);
    count += polled.records.size();
  }
  EXPECT_EQ(count, 3U);
  ASSERT_EQ(polled.errors.size(), 1U);
  EXPECT_EQ(polled.errors[0].error.name, "TOO_LARGE");
  EXPECT_EQ(polled.errors[0].position, 3);
  ASSERT_EQ(polled.errors[0].resume_offset, 6);
  ASSERT_TRUE(consumer.seek("t", 0, Position::offset(*polled.errors[0].resume_offset)).ok());
  EXPECT_EQ(read(consumer, 3).front().value, "last");
}

TEST_F(ClientBrokerTest, FindsPositionsByTimeAndDistance) {
  create_topic("t", 1);
  client::Producer producer({.connect = connect(), .batch_bytes_max = 2000});
  for (int i = 0; i < 1000; ++i) {
    producer.produce(
        {.topic = "t", .value = std::string(50, 'x'), .timestamp_ms = 1'000'000 + i * 10}, nullptr);
  }
  ASSERT_TRUE(producer.flush(30s));
  client::Consumer consumer({.connect = connect()});
  const auto resolve = [&](Position position) {
    const auto resolved = consumer.resolve("t", 0, position);
    EXPECT_TRUE(resolved.ok()) << resolved.error().to_string();
    return resolved.ok() ? *resolved : std::nullopt;
  };
  EXPECT_EQ(resolve(Position::time(1'000'000)), 0);
  EXPECT_EQ(resolve(Position::time(1'005'551)), 556);
  EXPECT_EQ(resolve(Position::time(1'009'990)), 999);
  EXPECT_EQ(resolve(Position::time(1'009'991)), std::nullopt);
  EXPECT_EQ(resolve(Position::end(10)), 990);
  EXPECT_EQ(resolve(Position::start(10)), 10);
  ASSERT_TRUE(consumer.assign({{"t", 0, Position::time(1'005'551)}}).ok());
  EXPECT_EQ(consumer.position("t", 0), 556);
  EXPECT_EQ(consumer.position("t", 1), std::nullopt);
  const std::vector<Read> rest = read(consumer, 444);
  ASSERT_EQ(rest.size(), 444U);
  EXPECT_EQ(rest.front().offset, 556);
  EXPECT_EQ(consumer.position("t", 0), 1000);
  EXPECT_EQ(consumer.high_watermark("t", 0), 1000);
  ASSERT_TRUE(consumer.seek("t", 0, Position::offset(5)).ok());
  EXPECT_EQ(consumer.poll(10s, 1).records.at(0).offset, 5);
  EXPECT_EQ(consumer.poll(10s, 1).records.at(0).offset, 6);
}

TEST_F(ClientBrokerTest, ReportsAnOffsetOutOfRange) {
  create_topic("t", 1);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign({{"t", 0, Position::offset(77)}}).ok());
  const client::ConsumedRecords polled = consumer.poll(10s);
  ASSERT_EQ(polled.errors.size(), 1U);
  EXPECT_EQ(polled.errors[0].error.name, "OFFSET_OUT_OF_RANGE");
  EXPECT_EQ(polled.errors[0].position, 77);
}

TEST_F(ClientBrokerTest, TailsWhatIsProducedWhileItPolls) {
  create_topic("t", 2);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", 2)).ok());
  EXPECT_TRUE(consumer.poll(50ms).empty());
  client::Producer producer({.connect = connect(), .linger = 0ms});
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(producer.produce({.topic = "t", .value = std::to_string(i), .partition = i % 2})
                    .get()
                    .ok());
    const auto records = read(consumer, 1);
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].value, std::to_string(i));
  }
}

TEST_F(ClientBrokerTest, AdministersTopics) {
  client::Admin admin(connect());
  ASSERT_TRUE(admin.create_topic({.name = "b", .partitions = 3}).ok());
  ASSERT_TRUE(admin.create_topic({.name = "a", .partitions = 1}).ok());
  const client::Status again = admin.create_topic({.name = "a", .partitions = 1});
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().name, "TOPIC_EXISTS");
  const auto topics = admin.list_topics();
  ASSERT_TRUE(topics.ok());
  std::map<std::string, std::int32_t> partitions;
  for (const auto& topic : *topics) partitions[topic.name] = topic.partitions;
  EXPECT_EQ(partitions, (std::map<std::string, std::int32_t>{{"a", 1}, {"b", 3}}));
  const auto described = admin.describe_topic("b");
  ASSERT_TRUE(described.ok());
  EXPECT_EQ(described->partitions.size(), 3U);
  EXPECT_EQ(described->topic_id.size(), 32U);
  EXPECT_FALSE(described->settings.empty());
  ASSERT_TRUE(admin.delete_topic("b").ok());
  const auto gone = admin.describe_topic("b");
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().name, "UNKNOWN_TOPIC");
}

TEST_F(ClientBrokerTest, NamesATopicThatDoesNotExist) {
  client::Producer producer({.connect = connect()});
  const Outcome outcome = producer.produce({.topic = "nowhere", .value = "x"}).get();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().name, "UNKNOWN_TOPIC");
  EXPECT_THAT(outcome.error().message, HasSubstr("nowhere"));
  client::Consumer consumer({.connect = connect()});
  const client::Status assigned = consumer.assign({{"nowhere", 0, Position::start()}});
  ASSERT_FALSE(assigned.ok());
  EXPECT_EQ(assigned.error().name, "UNKNOWN_TOPIC");
}

TEST_F(ClientBrokerTest, HoldsBackThreadsThatProduceFasterThanTheBrokerTakes) {
  create_topic("t", 4);
  constexpr int kThreads = 4;
  constexpr int kRecords = 5000;
  std::atomic<int> acknowledged{0};
  client::Producer producer(
      {.connect = connect(), .batch_bytes_max = 16 * 1024, .buffer_bytes_max = 64 * 1024});
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kRecords; ++i) {
        producer.produce(
            {.topic = "t", .value = std::to_string(i) + std::string(200, 'x'), .partition = thread},
            [&](const Outcome& outcome) { acknowledged += outcome.ok() ? 1 : 0; });
        EXPECT_LE(producer.statistics().buffered_bytes, 64U * 1024);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(producer.flush(60s));
  EXPECT_EQ(acknowledged.load(), kThreads * kRecords);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", kThreads)).ok());
  std::vector<int> next(kThreads, 0);
  for (const Read& record : read(consumer, kThreads * kRecords)) {
    EXPECT_EQ(std::stoi(*record.value), next[static_cast<std::size_t>(record.partition)]++);
  }
  EXPECT_THAT(next, ElementsAre(kRecords, kRecords, kRecords, kRecords));
}

TEST_F(ClientBrokerTest, SettlesEveryRecordOnceWhenDestroyedWithEverythingInFlight) {
  create_topic("t", 4);
  for (int round = 0; round < 10; ++round) {
    std::vector<int> calls(3000, 0);
    {
      client::Producer producer({.connect = connect(), .batch_bytes_max = 1000, .linger = 0ms});
      for (std::size_t i = 0; i < calls.size(); ++i) {
        producer.produce({.topic = "t", .value = std::to_string(i)},
                         [&calls, i](const Outcome&) { ++calls[i]; });
      }
    }
    EXPECT_EQ(std::count(calls.begin(), calls.end(), 1), 3000);
  }
}

TEST_F(ClientBrokerTest, LetsCallbacksProduceUntilTheProducerCloses) {
  create_topic("t", 1);
  std::atomic<int> delivered{0};
  std::atomic<bool> cancelled{false};
  client::Producer producer({.connect = connect(), .linger = 0ms});
  std::function<void(const Outcome&)> again = [&](const Outcome& outcome) {
    if (!outcome.ok()) {
      cancelled = true;
      return;
    }
    ++delivered;
    producer.produce({.topic = "t", .value = "again"}, again);
  };
  producer.produce({.topic = "t", .value = "first"}, again);
  while (delivered.load() < 20) std::this_thread::yield();
  producer.close(5s);
  while (!cancelled.load()) std::this_thread::yield();
  EXPECT_GE(delivered.load(), 20);
}

TEST_F(ClientBrokerTest, TellsOfAddressesThatCannotBeRead) {
  client::ConnectOptions wrong;
  wrong.brokers = {"host:port"};
  client::Admin admin(wrong);
  EXPECT_THAT(admin.list_topics().error().message, HasSubstr("'host:port'"));
  client::Producer producer({.connect = wrong});
  const Outcome outcome = producer.produce({.topic = "t", .value = "x"}).get();
  EXPECT_EQ(outcome.error().name, "INVALID_ARGUMENT");
  client::Consumer consumer({.connect = wrong});
  EXPECT_EQ(consumer.assign({{"t", 0, Position::start()}}).error().name, "INVALID_ARGUMENT");
  EXPECT_TRUE(consumer.poll(1ms).empty());
}

}  // namespace
}  // namespace tidelog
