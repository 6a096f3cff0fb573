// Changes to a topic that is in use: settings, partitions, its oldest records.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "tests/integration/client_broker_fixture.h"

namespace tidelog {
namespace {

using client::Position;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class TopicChangesTest : public ClientBrokerTest {
 protected:
  void produce(std::int32_t partition, int count, std::size_t bytes) {
    client::Producer producer({.connect = connect()});
    std::vector<std::future<client::Result<client::Delivery>>> deliveries;
    const std::string value(bytes, 'v');
    for (int i = 0; i < count; ++i) {
      deliveries.push_back(
          producer.produce({.topic = "t", .value = value, .partition = partition}));
    }
    for (auto& delivery : deliveries) ASSERT_TRUE(delivery.get().ok());
  }
  client::PartitionDescription describe(client::Admin& admin, std::size_t partition) {
    const auto topic = admin.describe_topic("t");
    EXPECT_TRUE(topic.ok());
    return topic->partitions.at(partition);
  }
};

TEST_F(TopicChangesTest, RetentionThatIsSetLaterFreesWhatIsThere) {
  client::Admin admin(connect());
  ASSERT_TRUE(admin
                  .create_topic({.name = "t",
                                 .partitions = 1,
                                 .settings = {{"segment.bytes", "65536"}, {"retention.ms", "-1"}}})
                  .ok());
  produce(0, 400, 8000);
  EXPECT_EQ(describe(admin, 0).start_offset, 0);
  ASSERT_TRUE(admin.alter_topic("t", {.settings = {{"retention.bytes", "500000"}}}).ok());
  const auto described = admin.describe_topic("t");
  ASSERT_TRUE(described.ok());
  EXPECT_EQ(described->settings.at("retention.bytes"), "500000");
  const auto deadline = std::chrono::steady_clock::now() + seconds(60);
  while (describe(admin, 0).start_offset == 0 && std::chrono::steady_clock::now() < deadline) {
    produce(0, 10, 8000);
  }
  EXPECT_GT(describe(admin, 0).start_offset, 0);

  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign({{"t", 0, Position::offset(0)}}).ok());
  const client::ConsumedRecords records = consumer.poll(seconds(30));
  ASSERT_EQ(records.errors.size(), 1U);
  EXPECT_EQ(records.errors[0].error.name, "OFFSET_OUT_OF_RANGE");
}

TEST_F(TopicChangesTest, ASettingThatDoesNotExistIsRefusedWithTheClosestName) {
  create_topic("t", 1);
  client::Admin admin(connect());
  const client::Status refused = admin.alter_topic("t", {.settings = {{"retention.mss", "1"}}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().name, "INVALID_SETTING");
  EXPECT_THAT(refused.error().message, HasSubstr("did you mean 'retention.ms'"));
  const client::Status unknown = admin.alter_topic("u", {.settings = {{"retention.ms", "1"}}});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().name, "UNKNOWN_TOPIC");
}

TEST_F(TopicChangesTest, ASmallerBatchLimitCountsAtOnce) {
  create_topic("t", 1);
  produce(0, 1, 100'000);
  client::Admin admin(connect());
  ASSERT_TRUE(admin.alter_topic("t", {.settings = {{"max.message.bytes", "50000"}}}).ok());
  client::Producer producer({.connect = connect()});
  const auto refused =
      producer.produce({.topic = "t", .value = std::string(100'000, 'v'), .partition = 0}).get();
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().name, testing::AnyOf("BATCH_TOO_LARGE", "TOO_LARGE"));
  ASSERT_TRUE(admin.alter_topic("t", {.defaults = {"max.message.bytes"}}).ok());
  produce(0, 1, 100'000);
}

TEST_F(TopicChangesTest, AddedPartitionsTakeRecordsAndStayOverARestart) {
  create_topic("t", 2);
  produce(1, 3, 10);
  client::Admin admin(connect());
  ASSERT_TRUE(admin.add_partitions("t", 5).ok());
  produce(4, 2, 10);
  EXPECT_EQ(describe(admin, 4).high_watermark, 2);
  EXPECT_EQ(describe(admin, 1).high_watermark, 3);
  const client::Status fewer = admin.add_partitions("t", 3);
  ASSERT_FALSE(fewer.ok());
  EXPECT_EQ(fewer.error().name, "INVALID_PARTITIONS");
  stop_broker();
  start_broker();
  client::Admin after(connect());
  EXPECT_EQ(describe(after, 4).high_watermark, 2);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", 5)).ok());
  EXPECT_EQ(read(consumer, 5).size(), 5U);
}

TEST_F(TopicChangesTest, ATimeIsFoundBehindATrimInsideABatch) {
  create_topic("t", 1);
  client::Producer producer({.connect = connect(), .linger = seconds(30)});
  for (int i = 0; i < 5; ++i) {  // in one batch
    producer.produce({.topic = "t", .value = "v", .timestamp_ms = 1000 + i * 10}, nullptr);
  }
  ASSERT_TRUE(producer.flush(seconds(30)));
  client::Admin admin(connect());
  ASSERT_TRUE(admin.delete_records("t", {{0, 3}}).ok());
  client::Consumer consumer({.connect = connect()});
  const auto resolve = [&](std::int64_t time) {
    const auto resolved = consumer.resolve("t", 0, Position::time(time));
    EXPECT_TRUE(resolved.ok()) << resolved.error().to_string();
    return resolved.ok() ? *resolved : -1;
  };
  EXPECT_EQ(resolve(0), 3);
  EXPECT_EQ(resolve(1031), 4);
  EXPECT_EQ(resolve(1041), std::nullopt);
  ASSERT_TRUE(consumer.assign({{"t", 0, Position::time(0)}}).ok());
  EXPECT_EQ(read(consumer, 2).front().offset, 3);
}

TEST_F(TopicChangesTest, TrimmedRecordsAreGoneForGood) {
  create_topic("t", 2);
  produce(0, 10, 10);
  produce(1, 10, 10);
  client::Admin admin(connect());
  const auto trimmed = admin.delete_records("t", {{0, 4}, {1, -1}});
  ASSERT_TRUE(trimmed.ok());
  ASSERT_EQ(trimmed->size(), 2U);
  EXPECT_EQ((*trimmed)[0].start_offset, 4);
  EXPECT_EQ((*trimmed)[1].start_offset, 10);
  const auto beyond = admin.delete_records("t", {{0, 11}, {7, 1}});
  ASSERT_TRUE(beyond.ok());
  EXPECT_THAT((*beyond)[0].problem, HasSubstr("the high watermark is 10"));
  EXPECT_THAT((*beyond)[1].problem, HasSubstr("no partition 7"));
  stop_broker();
  start_broker();
  client::Admin after(connect());
  EXPECT_EQ(describe(after, 0).start_offset, 4);
  EXPECT_EQ(describe(after, 1).start_offset, 10);
  client::Consumer consumer({.connect = connect()});
  ASSERT_TRUE(consumer.assign(all("t", 2)).ok());
  const auto records = read(consumer, 6);
  ASSERT_EQ(records.size(), 6U);
  EXPECT_EQ(records.front().offset, 4);
  produce(1, 1, 10);
  EXPECT_EQ(describe(after, 1).high_watermark, 11);
}

}  // namespace
}  // namespace tidelog
