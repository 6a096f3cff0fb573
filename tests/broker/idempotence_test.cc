// Producers that send again: ids of their own, duplicates answered, gaps refused, also over a
// restart.
#include <gmock/gmock.h>

#include <set>

#include "tests/broker/broker_fixture.h"
#include "wire/batch_builder.h"
#include "wire/record_batch.h"

namespace tidelog::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class IdempotenceTest : public BrokerTest {
 protected:
  static std::int64_t init_producer_id(RawClient& client) {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreateInitProducerIdRequest(to));
    const Answer answer = client.call(wire::ApiKey::kInitProducerId, to);
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    EXPECT_EQ(answer.table<fb::InitProducerIdAnswer>().producer_epoch(), 0);
    return answer.table<fb::InitProducerIdAnswer>().producer_id();
  }

  static std::vector<std::byte> batch(const TopicPartition& id, std::int64_t producer,
                                      std::int16_t epoch, std::int32_t sequence,
                                      const std::string& value) {
    wire::BatchBuilder builder;
    builder.add(1'700'000'000'000, {.value = value});
    BufferPool pool(0);
    const auto built = builder.finish(wire::Codec::kNone, wire::batch_seed(id),
                                      {ProducerId(producer), epoch, sequence}, pool);
    return {built->bytes().begin(), built->bytes().end()};
  }

  static void set_timestamp_type(RawClient& client, const std::string& topic,
                                 const std::string& type) {
    flatbuffers::FlatBufferBuilder to;
    const auto name = to.CreateString(topic);
    const std::vector settings{
        fb::CreateSetting(to, to.CreateString("message.timestamp.type"), to.CreateString(type))};
    const auto listed = to.CreateVector(settings);
    to.Finish(fb::CreateAlterTopicRequest(to, name, listed));
    const Answer answer = client.call(wire::ApiKey::kAlterTopic, to);
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  }

  // "ok <offset>", or the error's name.
  std::string send(RawClient& client, const TopicPartition& id, std::vector<std::byte> batches) {
    const Answer answer = client.receive(client.send_produce({{id, std::move(batches)}}));
    const fb::ProduceResult* result = answer.table<fb::ProduceAnswer>().results()->Get(0);
    message_ = message_of(result->status());
    append_time_us_ = result->append_time_us();
    const ErrorCode code = code_of(result->status());
    return code == ErrorCode::kOk ? "ok " + std::to_string(result->base_offset())
                                  : std::string(error_info(code).name);
  }

  std::string message_;
  std::int64_t append_time_us_ = 0;
};

TEST_P(IdempotenceTest, GivesEveryProducerAnIdOfItsOwnAlsoOverARestart) {
  std::set<std::int64_t> given;
  for (int life = 0; life < 3; ++life) {
    for (int i = 0; i < 4; ++i) {
      RawClient client = connect();
      for (int again = 0; again < 3; ++again) {
        EXPECT_TRUE(given.insert(init_producer_id(client)).second);
      }
    }
    restart();
  }
  EXPECT_GE(*given.begin(), 0);
}

TEST_P(IdempotenceTest, AnswersWhatIsSentAgainWithItsOffsetAndKeepsItOnce) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::int64_t producer = init_producer_id(client);
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 0, "a")), "ok 0");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 1, "b")), "ok 1");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 0, "a")), "ok 0");
  restart();
  RawClient later = connect();
  EXPECT_EQ(send(later, id, batch(id, producer, 0, 1, "b")), "ok 1");
  EXPECT_EQ(send(later, id, batch(id, producer, 0, 2, "c")), "ok 2");
  const Answer answer = later.fetch({.changed = {fetch_from(id, 0)}});
  EXPECT_THAT(values_of(id, answer.raw()), ElementsAre("a", "b", "c"));
}

TEST_P(IdempotenceTest, WhatIsSentAgainBehindAChangeOfTheTimestampTypeIsToldWhatItsOriginalGot) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::int64_t producer = init_producer_id(client);
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 0, "a")), "ok 0");
  EXPECT_EQ(append_time_us_, -1);
  set_timestamp_type(client, "t", "LogAppendTime");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 0, "a")), "ok 0");
  EXPECT_EQ(append_time_us_, -1);
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 1, "b")), "ok 1");
  EXPECT_GT(append_time_us_, 0);
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 1, "b")), "ok 1");
  EXPECT_EQ(append_time_us_, -2);
  set_timestamp_type(client, "t", "CreateTime");
  for (int life = 0; life < 2; ++life) {
    RawClient again = connect();
    EXPECT_EQ(send(again, id, batch(id, producer, 0, 0, "a")), "ok 0");
    EXPECT_EQ(append_time_us_, -1);
    EXPECT_EQ(send(again, id, batch(id, producer, 0, 1, "b")), "ok 1");
    EXPECT_EQ(append_time_us_, -2);
    restart();
  }
}

TEST_P(IdempotenceTest, RefusesGapsUntilTheSequenceGoesOnOrANewEpochBegins) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::int64_t producer = init_producer_id(client);
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 4, "?")), "UNKNOWN_PRODUCER");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 0, "a")), "ok 0");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 2, "c")), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_THAT(message_, HasSubstr("topic 't'"));
  EXPECT_THAT(message_, HasSubstr("sequence 1 is due"));
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 3, "d")), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 1, "b")), "ok 1");
  EXPECT_EQ(send(client, id, batch(id, producer, 1, 0, "c")), "ok 2");
  EXPECT_EQ(send(client, id, batch(id, producer, 0, 2, "c")), "FENCED_PRODUCER");
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}});
  EXPECT_THAT(values_of(id, answer.raw()), ElementsAre("a", "b", "c"));
}

TEST_P(IdempotenceTest, TakesOneNumberedBatchAnEntry) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::int64_t producer = init_producer_id(client);
  std::vector<std::byte> both = batch(id, producer, 0, 0, "a");
  const std::vector<std::byte> second = batch(id, producer, 0, 1, "b");
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(send(client, id, both), "INVALID_BATCH");
  EXPECT_EQ(client.list_offset(id, -1).offset, 0);
}

TEST_P(IdempotenceTest, ManyProducersAtOnceKeepTheirOwnSequences) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  std::vector<std::int64_t> producers;
  for (int i = 0; i < 20; ++i) producers.push_back(init_producer_id(client));
  std::vector<std::uint64_t> sent;
  for (std::int32_t sequence = 0; sequence < 10; ++sequence) {
    for (const std::int64_t producer : producers) {
      // Everything twice, without waiting.
      for (int again = 0; again < 2; ++again) {
        sent.push_back(client.send_produce({{id, batch(id, producer, 0, sequence, "v")}}));
      }
    }
  }
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const Answer answer = client.receive(sent[i]);
    const fb::ProduceResult* result = answer.table<fb::ProduceAnswer>().results()->Get(0);
    ASSERT_EQ(code_of(result->status()), ErrorCode::kOk) << message_of(result->status());
    EXPECT_EQ(result->base_offset(), static_cast<std::int64_t>(i / 2));
  }
  EXPECT_EQ(client.list_offset(id, -1).offset, 200);
}

TIDELOG_WITH_SHARDS(IdempotenceTest);

}  // namespace
}  // namespace tidelog::broker
