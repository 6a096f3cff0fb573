#include <gmock/gmock.h>

#include <set>

#include "base/bytes.h"
#include "tests/broker/broker_fixture.h"
#include "wire/limits.h"
#include "wire/record_batch.h"

namespace tidelog::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ProduceTest : public BrokerTest {
 protected:
  struct Settled {
    ErrorCode code;
    std::string message;
    std::int64_t base_offset;
    std::int64_t append_time_us;
  };
  // Gathers all parts of an answer, by partition.
  static std::map<std::int32_t, Settled> settled(RawClient& client, std::uint64_t correlation) {
    std::map<std::int32_t, Settled> results;
    for (;;) {
      const Answer answer = client.receive(correlation);
      EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
      for (const fb::ProduceResult* result : *answer.table<fb::ProduceAnswer>().results()) {
        const auto [at, added] = results.emplace(
            result->partition(), Settled{code_of(result->status()), message_of(result->status()),
                                         result->base_offset(), result->append_time_us()});
        EXPECT_TRUE(added) << "a partition settles once";
      }
      if (!answer.more_parts()) return results;
    }
  }
  Settled settle_one(const TopicPartition& id, std::vector<std::byte> batches) {
    RawClient client = connect();
    const auto results = settled(client, client.send_produce({{id, std::move(batches)}}));
    EXPECT_EQ(results.size(), 1U);
    return results.begin()->second;
  }
};

TEST_P(ProduceTest, RecordsGetOffsetsAndComeBack) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  EXPECT_EQ(client.produce(id, make_batch(id, {"a", "b", "c"})), 0);
  EXPECT_EQ(client.produce(id, make_batch(id, {"d"})), 3);
  EXPECT_EQ(client.list_offset(id, -1).offset, 4);
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}});
  EXPECT_THAT(values_of(id, answer.raw()), ElementsAre("a", "b", "c", "d"));
}

TEST_P(ProduceTest, TheAnswerTellsTheTimeThatStandsForTheRecordsOwn) {
  const TopicPartition own = make_partition("own");
  EXPECT_EQ(settle_one(own, make_batch(own, {"a"})).append_time_us, -1);
  const TopicPartition id = make_partition("t", {{"message.timestamp.type", "LogAppendTime"}});
  const std::int64_t time_us = settle_one(id, make_batch(id, {"a", "b"})).append_time_us;
  RawClient client = connect();
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}});
  const auto stored = wire::BatchView::parse(answer.raw(), wire::kBatchBytesMax);
  ASSERT_TRUE(stored.has_value());
  EXPECT_EQ(stored->max_timestamp_ms(), time_us / 1000);
  EXPECT_EQ(stored->append_time_us(), time_us);
}

TEST_P(ProduceTest, SeveralBatchesOfOneEntryAreAppendedInOrder) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  std::vector<std::byte> both = make_batch(id, {"a", "b"});
  const std::vector<std::byte> second = make_batch(id, {"c"});
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(client.produce(id, both), 0);
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}});
  EXPECT_THAT(values_of(id, answer.raw()), ElementsAre("a", "b", "c"));
}

TEST_P(ProduceTest, EachEntrySettlesByItself) {
  const TopicId topic = make_topic("t", 6);
  RawClient client = connect();
  std::vector<RawClient::ProduceEntry> entries;
  for (std::int32_t i = 0; i < 8; ++i) {  // 6 and 7 do not exist
    const TopicPartition id{topic, PartitionIndex(i)};
    entries.push_back({id, make_batch(id, {"v"})});
  }
  entries[2].batches[100] ^= std::byte{1};  // in the records
  const auto results = settled(client, client.send_produce(entries));
  ASSERT_EQ(results.size(), 8U);
  for (const std::int32_t sound : {0, 1, 3, 4, 5}) {
    EXPECT_EQ(results.at(sound).code, ErrorCode::kOk) << results.at(sound).message;
    EXPECT_EQ(results.at(sound).base_offset, 0);
  }
  EXPECT_EQ(results.at(2).code, ErrorCode::kChecksumMismatch);
  EXPECT_THAT(results.at(2).message, HasSubstr("broker 7, topic 't', partition 2"));
  EXPECT_EQ(results.at(6).code, ErrorCode::kUnknownPartition);
  EXPECT_THAT(results.at(7).message, HasSubstr("topic 't' has no partition 7; it has 6"));
}

TEST_P(ProduceTest, ABatchOfAnotherPartitionIsRefused) {
  const TopicId topic = make_topic("t", 2);
  const TopicPartition meant{topic, PartitionIndex(0)};
  const TopicPartition other{topic, PartitionIndex(1)};
  const Settled result = settle_one(meant, make_batch(other, {"v"}));
  EXPECT_EQ(result.code, ErrorCode::kChecksumMismatch);
  RawClient client = connect();
  EXPECT_EQ(client.list_offset(meant, -1).offset, 0);
}

TEST_P(ProduceTest, ABatchWithADamagedHeaderIsRefused) {
  const TopicPartition id = make_partition("t");
  for (const std::size_t position : {8U, 24U, 40U, 60U, 90U}) {
    std::vector<std::byte> batch = make_batch(id, {"v"});
    batch[position] ^= std::byte{0x10};
    EXPECT_EQ(settle_one(id, batch).code, ErrorCode::kChecksumMismatch) << position;
  }
}

TEST_P(ProduceTest, BytesThatAreNoBatchAreRefused) {
  const TopicPartition id = make_partition("t");
  EXPECT_EQ(settle_one(id, std::vector<std::byte>(500, std::byte{7})).code,
            ErrorCode::kInvalidBatch);
  std::vector<std::byte> cut = make_batch(id, {"value"});
  cut.pop_back();
  EXPECT_NE(settle_one(id, cut).code, ErrorCode::kOk);
  EXPECT_EQ(settle_one(id, {}).code, ErrorCode::kInvalidBatch);
  RawClient client = connect();
  EXPECT_EQ(client.list_offset(id, -1).offset, 0);
}

TEST_P(ProduceTest, ABatchAboveTheTopicsLimitIsRefused) {
  const TopicPartition id = make_partition("t", {{"max.message.bytes", "10000"}});
  EXPECT_EQ(settle_one(id, make_large_batch(id, 20'000)).code, ErrorCode::kBatchTooLarge);
  EXPECT_EQ(settle_one(id, make_large_batch(id, 9'000)).code, ErrorCode::kOk);
}

// Also through the smallest journal.
TEST_P(ProduceTest, TheLargestBatchTravelsBothWays) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::size_t overhead = make_large_batch(id, 2'000'000).size() - 2'000'000;
  const std::vector<std::byte> largest = make_large_batch(id, wire::kBatchBytesMax - overhead - 1);
  EXPECT_EQ(client.produce(id, largest), 0);
  // Even where the fetch asked for less.
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0, -1, 1000)}, .bytes_max = 1000});
  EXPECT_EQ(answer.raw().size(), largest.size());
  EXPECT_EQ(values_of(id, answer.raw()).size(), 1U);
}

TEST_P(ProduceTest, ADuplicatedEntryFailsTheRequest) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::vector<std::byte> batch = make_batch(id, {"v"});
  const Answer answer = client.receive(client.send_produce({{id, batch}, {id, batch}}));
  EXPECT_EQ(answer.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(answer.message(), HasSubstr("twice"));
  EXPECT_EQ(client.list_offset(id, -1).offset, 0) << "nothing of it was appended";
}

TEST_P(ProduceTest, CountsThatDoNotAddUpFailTheRequest) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::vector<std::byte> batch = make_batch(id, {"v"});
  for (const std::int64_t error : {-1, 1, 1'000'000}) {
    flatbuffers::FlatBufferBuilder to;
    const auto stated = static_cast<std::uint32_t>(static_cast<std::int64_t>(batch.size()) + error);
    const std::vector<fb::ProduceEntry> entries = {fb::ProduceEntry(uuid_of(id.topic), 0, stated)};
    const auto listed = to.CreateVectorOfStructs(entries);
    to.Finish(fb::CreateProduceRequest(to, fb::Acks::All, 0, listed));
    EXPECT_EQ(client.call(wire::ApiKey::kProduce, to, batch).code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(client.list_offset(id, -1).offset, 0);
}

TEST_P(ProduceTest, UnknownAcksFailTheRequest) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const Answer answer =
      client.receive(client.send_produce({{id, make_batch(id, {"v"})}}, static_cast<fb::Acks>(9)));
  EXPECT_EQ(answer.code(), ErrorCode::kInvalidArgument);
}

TEST_P(ProduceTest, AnUnknownTopicIsNamed) {
  const TopicPartition id{TopicId::random(), PartitionIndex(0)};
  const Settled result = settle_one(id, make_batch(id, {"v"}));
  EXPECT_EQ(result.code, ErrorCode::kUnknownTopic);
  EXPECT_THAT(result.message, HasSubstr(id.topic.to_string()));
}

TEST_P(ProduceTest, AcksNoneIsNotAnsweredButAppended) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.send_produce({{id, make_batch(id, {"a"})}}, fb::Acks::None);
  // The next one to this partition is carried out behind it.
  EXPECT_EQ(client.produce(id, make_batch(id, {"b"})), 1);
}

TEST_P(ProduceTest, WhatOnlyBrokersSetIsRefused) {
  const TopicPartition id = make_partition("t");
  const std::vector<std::byte> sound = make_batch(id, {"v"});
  const auto view = wire::BatchView::parse(sound, wire::kBatchBytesMax);
  ASSERT_TRUE(view);
  const auto code_with = [&](auto set_fields) {
    wire::BatchHeader header = view->header();
    set_fields(header);
    std::vector<std::byte> batch = sound;
    wire::encode_batch_header(header, wire::batch_seed(id), batch.data());
    return settle_one(id, batch).code;
  };
  for (const std::uint16_t attribute :
       {wire::kAttributeControl, wire::kAttributeTransactional, wire::kAttributeLogAppendTime}) {
    EXPECT_EQ(code_with([&](wire::BatchHeader& header) { header.attributes = attribute; }),
              ErrorCode::kInvalidBatch)
        << attribute;
  }
  EXPECT_EQ(code_with([](wire::BatchHeader& header) { header.base_offset = Offset(5); }),
            ErrorCode::kInvalidBatch);
  // It would take offsets that no record has.
  EXPECT_EQ(code_with([](wire::BatchHeader& header) { header.last_offset_delta = 1'000'000; }),
            ErrorCode::kInvalidBatch);
  RawClient client = connect();
  EXPECT_EQ(client.list_offset(id, -1).offset, 0);
}

TEST_P(ProduceTest, MorePendingProduceThanTheBudgetHoldsWaitsAndSucceeds) {
  stop();
  produce_memory_bytes_ = 1 << 20;
  start();
  const TopicId topic = make_topic("t", 4);
  std::vector<RawClient> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(connect());
  std::vector<std::vector<std::uint64_t>> sent(clients.size());
  const std::size_t rounds = 8;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t c = 0; c < clients.size(); ++c) {
      const TopicPartition id{topic, PartitionIndex(static_cast<std::int32_t>(c % 4))};
      sent[c].push_back(clients[c].send_produce({{id, make_large_batch(id, 40'000)}}));
    }
  }
  for (std::size_t c = 0; c < clients.size(); ++c) {
    for (const std::uint64_t correlation : sent[c]) {
      const auto results = settled(clients[c], correlation);
      EXPECT_EQ(results.begin()->second.code, ErrorCode::kOk) << results.begin()->second.message;
    }
  }
}

TEST_P(ProduceTest, AClientThatGoesWhileItsRequestsAreOpenHarmsNobody) {
  const TopicPartition id = make_partition("t");
  for (int i = 0; i < 20; ++i) {
    RawClient client = connect();
    for (int n = 0; n < 20; ++n) client.send_produce({{id, make_batch(id, {"v"})}});
    client.close();
  }
  RawClient client = connect();
  EXPECT_GE(client.produce(id, make_batch(id, {"v"})), 0);
}

TIDELOG_WITH_SHARDS(ProduceTest);

}  // namespace
}  // namespace tidelog::broker
