#include <gmock/gmock.h>

#include <thread>

#include "tests/broker/broker_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::HasSubstr;

class TopicsTest : public BrokerTest {};

TEST_P(TopicsTest, ACreatedTopicTakesWritesAtOnceOnEveryPartition) {
  const TopicId topic = make_topic("orders", 16);
  RawClient client = connect();
  for (std::int32_t i = 0; i < 16; ++i) {
    const TopicPartition id{topic, PartitionIndex(i)};
    EXPECT_EQ(client.produce(id, make_batch(id, {"v"})), 0);
  }
}

TEST_P(TopicsTest, EveryShardKnowsATopicWhenItsCreationIsAnsweredAndForgetsADeletedOne) {
  // One client on each shard: the kernel spreads connections.
  std::map<std::int32_t, RawClient> by_shard;
  while (by_shard.size() < static_cast<std::size_t>(GetParam())) {
    RawClient client(broker_->port());
    const std::int32_t shard = client.hello().table<fb::HelloAnswer>().shard();
    by_shard.emplace(shard, std::move(client));
  }
  RawClient& asked = by_shard.begin()->second;
  RawClient& other = by_shard.rbegin()->second;
  for (int i = 0; i < 50; ++i) {
    const std::string name = "t" + std::to_string(i);
    const Answer created = asked.create_topic(name, 2);
    ASSERT_EQ(created.code(), ErrorCode::kOk) << created.message();
    const TopicPartition id{topic_id_of(*created.table<fb::CreateTopicAnswer>().id()),
                            PartitionIndex(i % 2)};
    EXPECT_EQ(other.produce(id, make_batch(id, {"v"})), 0);
    ASSERT_EQ(asked.delete_topic(name).code(), ErrorCode::kOk);
    EXPECT_EQ(other.list_offset(id, -1).code, ErrorCode::kUnknownTopic);
  }
}

TEST_P(TopicsTest, MetadataNamesTopicsPartitionsAndAnAddressThatWorks) {
  const TopicId topic = make_topic("orders", 3, {{"max.message.bytes", "100000"}});
  make_topic("other");
  RawClient client = connect();
  const Answer answer = client.metadata({"orders"});
  const auto& metadata = answer.table<fb::MetadataAnswer>();
  ASSERT_EQ(metadata.topics()->size(), 1U);
  const fb::TopicMetadata* found = metadata.topics()->Get(0);
  EXPECT_EQ(found->name()->str(), "orders");
  EXPECT_EQ(topic_id_of(*found->id()), topic);
  EXPECT_EQ(found->batch_bytes_max(), 100'000U);
  EXPECT_EQ(found->replication_factor(), 1);
  ASSERT_EQ(found->partitions()->size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found->partitions()->Get(i)->leader(), 7);
    EXPECT_LT(found->partitions()->Get(i)->shard(), GetParam());
  }
  ASSERT_EQ(metadata.brokers()->size(), 1U);
  EXPECT_EQ(metadata.brokers()->Get(0)->host()->str(), "127.0.0.1");
  EXPECT_EQ(metadata.brokers()->Get(0)->port(), broker_->port());
  const Answer all = client.metadata({});
  EXPECT_EQ(all.table<fb::MetadataAnswer>().topics()->size(), 2U);
}

TEST_P(TopicsTest, MetadataOfTooManyNamesIsRefused) {
  RawClient client = connect();
  flatbuffers::FlatBufferBuilder table;
  // One name, named again and again: a small request for an answer without bound.
  const std::vector<flatbuffers::Offset<flatbuffers::String>> names(
      wire::kPartitionsPerRequestMax + 1, table.CreateString("x"));
  const auto listed = table.CreateVector(names);
  table.Finish(fb::CreateMetadataRequest(table, listed));
  EXPECT_EQ(client.call(wire::ApiKey::kMetadata, table).code(), ErrorCode::kTooLarge);
}

TEST_P(TopicsTest, MetadataLargerThanAPageComesInPages) {
  make_topic("wide", 1000);
  RawClient client = connect();
  // 16 KB each time it is named.
  std::vector<std::string> names(100, "wide");
  names.emplace_back("unknown");
  const Answer page = client.metadata(names);
  ASSERT_EQ(page.code(), ErrorCode::kOk) << page.message();
  const auto& first = page.table<fb::MetadataAnswer>();
  EXPECT_TRUE(first.more());
  EXPECT_GT(first.topics()->size(), 10U);
  EXPECT_LT(first.topics()->size(), 100U);
  names.erase(names.begin(), names.begin() + static_cast<long>(first.topics()->size()));
  const Answer rest = client.metadata(names);
  EXPECT_FALSE(rest.table<fb::MetadataAnswer>().more());
  EXPECT_EQ(rest.table<fb::MetadataAnswer>().topics()->size(), names.size());
}

TEST_P(TopicsTest, AllTopicsAreListedBehindAName) {
  for (const std::string name : {"a", "b", "c"}) make_topic(name);
  RawClient client = connect();
  const auto names_after = [&](const std::string& after) {
    flatbuffers::FlatBufferBuilder table;
    table.Finish(fb::CreateMetadataRequest(table, 0, 0, true, table.CreateString(after)));
    const Answer answer = client.call(wire::ApiKey::kMetadata, table);
    std::string names;
    for (const auto* topic : *answer.table<fb::MetadataAnswer>().topics()) {
      names += topic->name()->str();
    }
    return names;
  };
  EXPECT_EQ(names_after(""), "abc");
  EXPECT_EQ(names_after("a"), "bc");
  EXPECT_EQ(names_after("aa"), "bc");
  EXPECT_EQ(names_after("c"), "");
}

TEST_P(TopicsTest, NamesThatNoTopicCanHaveAreRefusedOneByOne) {
  make_topic("t");
  RawClient client = connect();
  const Answer answer = client.metadata({std::string(60'000, 'x'), "t"});
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  const auto* topics = answer.table<fb::MetadataAnswer>().topics();
  EXPECT_EQ(code_of(topics->Get(0)->status()), ErrorCode::kInvalidTopicName);
  EXPECT_EQ(code_of(topics->Get(1)->status()), ErrorCode::kOk);
  EXPECT_EQ(client.metadata({std::string(3 << 20, 'x')}).code(), ErrorCode::kTooLarge);
}

TEST_P(TopicsTest, AnUnknownTopicNamesTheClosestOne) {
  make_topic("orders");
  RawClient client = connect();
  const Answer answer = client.metadata({"oders"});
  const fb::TopicMetadata* topic = answer.table<fb::MetadataAnswer>().topics()->Get(0);
  EXPECT_EQ(code_of(topic->status()), ErrorCode::kUnknownTopic);
  EXPECT_THAT(message_of(topic->status()), HasSubstr("'orders'"));
  EXPECT_EQ(client.describe_topic("oders").code(), ErrorCode::kUnknownTopic);
  EXPECT_THAT(client.delete_topic("oders").message(), HasSubstr("'orders'"));
}

TEST_P(TopicsTest, OnlyTheFirstUnknownTopicsOfARequestNameTheClosestOne) {
  make_topic("orders");
  RawClient client = connect();
  const Answer answer = client.metadata(std::vector<std::string>(10, "oders"));
  const auto* topics = answer.table<fb::MetadataAnswer>().topics();
  ASSERT_EQ(topics->size(), 10U);
  for (std::uint32_t i = 0; i < 10; ++i) {
    EXPECT_EQ(code_of(topics->Get(i)->status()), ErrorCode::kUnknownTopic);
    const bool suggests =
        message_of(topics->Get(i)->status()).find("'orders'") != std::string::npos;
    EXPECT_EQ(suggests, i < 3) << i;
  }
}

TEST_P(TopicsTest, WrongTopicsAreRefusedWithTheReason) {
  RawClient client = connect();
  EXPECT_EQ(client.create_topic("no spaces", 1).code(), ErrorCode::kInvalidTopicName);
  EXPECT_EQ(client.create_topic("", 1).code(), ErrorCode::kInvalidTopicName);
  EXPECT_EQ(client.create_topic("t", -3).code(), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(client.create_topic("t", 1'000'000).code(), ErrorCode::kInvalidPartitions);
  const Answer unknown = client.create_topic("t", 1, {{"retention.msec", "1"}});
  EXPECT_EQ(unknown.code(), ErrorCode::kInvalidSetting);
  EXPECT_THAT(unknown.message(), HasSubstr("retention.ms"));
  EXPECT_EQ(client.create_topic("t", 1).code(), ErrorCode::kOk);
  EXPECT_EQ(client.create_topic("t", 1).code(), ErrorCode::kTopicExists);
}

TEST_P(TopicsTest, NoPartitionCountMeansTheDefault) {
  make_topic("t", 0);
  RawClient client = connect();
  const Answer answer = client.describe_topic("t");
  EXPECT_EQ(answer.table<fb::DescribeTopicAnswer>().partitions()->size(), 1U);
}

TEST_P(TopicsTest, DescribeShowsSettingsAndOffsets) {
  const TopicId topic = make_topic("t", 4, {{"max.message.bytes", "100000"}});
  const TopicPartition id{topic, PartitionIndex(2)};
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a", "b", "c"}));
  const Answer answer = client.describe_topic("t");
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  const auto& described = answer.table<fb::DescribeTopicAnswer>();
  ASSERT_EQ(described.partitions()->size(), 4U);
  for (std::uint32_t i = 0; i < 4; ++i) {
    const fb::PartitionDescription* partition = described.partitions()->Get(i);
    EXPECT_EQ(code_of(partition->status()), ErrorCode::kOk);
    EXPECT_EQ(partition->partition(), static_cast<std::int32_t>(i));
    EXPECT_EQ(partition->leader(), 7);
    EXPECT_EQ(partition->start_offset(), 0);
    EXPECT_EQ(partition->high_watermark(), i == 2 ? 3 : 0);
    EXPECT_EQ(partition->log_end_offset(), i == 2 ? 3 : 0);
    EXPECT_EQ(partition->isr()->size(), 1U);
  }
  bool found = false;
  for (const fb::Setting* setting : *described.settings()) {
    if (setting->name()->str() != "max.message.bytes") {
      EXPECT_TRUE(setting->is_default()) << setting->name()->str();
      continue;
    }
    found = true;
    EXPECT_EQ(setting->value()->str(), "100000");
    EXPECT_FALSE(setting->is_default());
  }
  EXPECT_TRUE(found);
}

TEST_P(TopicsTest, OffsetsAreFoundByEndsAndByTime) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a"}, 1000));
  client.produce(id, make_batch(id, {"b", "c"}, 2000));
  client.produce(id, make_batch(id, {"d"}, 3000));
  EXPECT_EQ(client.list_offset(id, -2).offset, 0);
  EXPECT_EQ(client.list_offset(id, -1).offset, 4);
  EXPECT_EQ(client.list_offset(id, 0).offset, 0);
  EXPECT_EQ(client.list_offset(id, 1001).offset, 1);
  EXPECT_EQ(client.list_offset(id, 2000).offset, 1);
  EXPECT_EQ(client.list_offset(id, 3000).offset, 3);
  EXPECT_EQ(client.list_offset(id, 3001).offset, -1) << "no such record";
  EXPECT_EQ(client.list_offset(id, -3).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(client.list_offset({id.topic, PartitionIndex(1)}, -1).code,
            ErrorCode::kUnknownPartition);
  EXPECT_EQ(client.list_offset({TopicId::random(), PartitionIndex(0)}, -1).code,
            ErrorCode::kUnknownTopic);
}

TEST_P(TopicsTest, ManyTimesAndEndsInOneRequestAreAnsweredInTheirOrder) {
  const TopicId topic = make_topic("t", 2);
  RawClient client = connect();
  for (std::int32_t partition = 0; partition < 2; ++partition) {
    const TopicPartition id{topic, PartitionIndex(partition)};
    for (int i = 0; i < 10; ++i) client.produce(id, make_batch(id, {"a"}, 1000 + i));
  }
  std::vector<fb::ListOffsetsEntry> entries;
  for (std::int32_t i = 0; i < 3000; ++i) {
    entries.emplace_back(uuid_of(topic), i % 3, 0, i % 5 == 0 ? -1 : 1000 + i % 10);
  }
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateListOffsetsRequest(to, to.CreateVectorOfStructs(entries)));
  const Answer answer = client.call(wire::ApiKey::kListOffsets, to);
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  const auto* results = answer.table<fb::ListOffsetsAnswer>().results();
  ASSERT_EQ(results->size(), entries.size());
  for (std::int32_t i = 0; i < 3000; ++i) {
    const fb::ListOffsetsResult* result = results->Get(static_cast<std::uint32_t>(i));
    ASSERT_EQ(result->partition(), i % 3);
    if (i % 3 == 2) {
      ASSERT_EQ(code_of(result->status()), ErrorCode::kUnknownPartition);
    } else {
      ASSERT_EQ(code_of(result->status()), ErrorCode::kOk);
      ASSERT_EQ(result->offset(), i % 5 == 0 ? 10 : i % 10) << i;
    }
  }
}

TEST_P(TopicsTest, ADeletedTopicIsGoneAndANewOneOfThatNameIsEmpty) {
  const TopicPartition old = make_partition("t");
  RawClient client = connect();
  client.produce(old, make_batch(old, {"old"}));
  EXPECT_EQ(client.delete_topic("t").code(), ErrorCode::kOk);
  EXPECT_EQ(client.describe_topic("t").code(), ErrorCode::kUnknownTopic);
  EXPECT_EQ(client.list_offset(old, -1).code, ErrorCode::kUnknownTopic);
  const TopicPartition fresh = make_partition("t");
  EXPECT_NE(fresh.topic, old.topic);
  EXPECT_EQ(client.produce(fresh, make_batch(fresh, {"new"})), 0);
  restart();
  RawClient again = connect();
  EXPECT_EQ(again.list_offset(fresh, -1).offset, 1);
  EXPECT_EQ(again.list_offset(old, -1).code, ErrorCode::kUnknownTopic);
}

TEST_P(TopicsTest, DeletingATopicTellsItsParkedFetches) {
  const TopicPartition id = make_partition("t");
  RawClient consumer = connect();
  const std::uint64_t session =
      consumer.fetch({.changed = {fetch_from(id, 0)}}).table<fb::FetchAnswer>().session();
  const std::uint64_t parked = consumer.send_fetch({.session = session, .max_wait_ms = 15'000});
  EXPECT_EQ(connect().delete_topic("t").code(), ErrorCode::kOk);
  const Answer answer = consumer.receive(parked);
  const auto* results = answer.table<fb::FetchAnswer>().results();
  ASSERT_EQ(results->size(), 1U);
  EXPECT_EQ(code_of(results->Get(0)->status()), ErrorCode::kUnknownTopic);
}

TEST_P(TopicsTest, ProducingWhileTheTopicIsDeletedSettlesEveryRequest) {
  for (int round = 0; round < 5; ++round) {
    const TopicId topic = make_topic("t", 4);
    std::vector<std::thread> producers;
    for (std::int32_t p = 0; p < 4; ++p) {
      producers.emplace_back([this, id = TopicPartition{topic, PartitionIndex(p)}] {
        RawClient client = connect();
        const std::vector<std::byte> batch = make_batch(id, {"v"});
        for (std::int64_t expected = 0;;) {
          const Answer answer = client.receive(client.send_produce({{id, batch}}));
          const fb::ProduceResult* result = answer.table<fb::ProduceAnswer>().results()->Get(0);
          const ErrorCode code = code_of(result->status());
          if (code == ErrorCode::kOk) {
            EXPECT_EQ(result->base_offset(), expected++);
            continue;
          }
          // Between the end of the replica and the news of the tombstone it is merely not served.
          EXPECT_THAT(code, ::testing::AnyOf(ErrorCode::kUnknownTopic, ErrorCode::kUnknownOutcome,
                                             ErrorCode::kNotLeader, ErrorCode::kNotReady,
                                             ErrorCode::kUnknownPartition))
              << message_of(result->status());
          if (code == ErrorCode::kUnknownTopic) return;
        }
      });
    }
    const Answer deleted = connect().delete_topic("t");
    EXPECT_EQ(deleted.code(), ErrorCode::kOk) << deleted.message();
    for (std::thread& producer : producers) producer.join();
  }
}

TEST_P(TopicsTest, ThousandsOfPartitionsAreMadeAndServed) {
  constexpr std::int32_t kPartitions = 2'000;
  const TopicId topic = make_topic("wide", kPartitions);
  RawClient client = connect();
  std::vector<RawClient::ProduceEntry> entries;
  for (std::int32_t i = 0; i < kPartitions; ++i) {
    const TopicPartition id{topic, PartitionIndex(i)};
    entries.push_back({id, make_batch(id, {"v"})});
  }
  const std::uint64_t sent = client.send_produce(entries);
  std::size_t settled = 0;
  while (settled < entries.size()) {
    const Answer answer = client.receive(sent);
    for (const fb::ProduceResult* result : *answer.table<fb::ProduceAnswer>().results()) {
      ASSERT_EQ(code_of(result->status()), ErrorCode::kOk) << message_of(result->status());
      ++settled;
    }
  }
  std::vector<fb::FetchPartition> all;
  for (const auto& entry : entries) all.push_back(fetch_from(entry.id, 0));
  std::size_t read = 0;
  std::uint64_t session = 0;
  while (read < entries.size()) {
    const Answer answer = client.fetch({.session = session,
                                        .changed = session == 0 ? all : decltype(all){},
                                        .max_wait_ms = 15'000});
    session = answer.table<fb::FetchAnswer>().session();
    read += answer.table<fb::FetchAnswer>().results()->size();
  }
  EXPECT_EQ(read, entries.size());
}

TIDELOG_WITH_SHARDS(TopicsTest);

}  // namespace
}  // namespace tidelog::broker
