// Where epochs end, and what an answer tells of a leader that is not the one asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/broker/broker_fixture.h"

namespace tidelog::broker {
namespace {

class EpochEndTest : public BrokerTest {
 protected:
  struct End {
    ErrorCode code;
    std::int32_t epoch;
    std::int64_t offset;
    std::int32_t leader_epoch;
  };
  static End epoch_end(RawClient& client, const TopicPartition& id, std::int32_t epoch) {
    flatbuffers::FlatBufferBuilder table;
    const std::vector<fb::EpochEndEntry> entries = {
        fb::EpochEndEntry(uuid_of(id.topic), id.partition.value(), epoch)};
    const auto listed = table.CreateVectorOfStructs(entries);
    table.Finish(fb::CreateEpochEndRequest(table, listed));
    const Answer answer = client.call(wire::ApiKey::kEpochEnd, table);
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    const fb::EpochEndResult* result = answer.table<fb::EpochEndAnswer>().results()->Get(0);
    return {code_of(result->status()), result->epoch(), result->end_offset(),
            result->leader_epoch()};
  }
};

TEST_P(EpochEndTest, EveryRestartEndsAnEpochWhereItsRecordsEnd) {
  const TopicPartition id = make_partition("t");
  {
    RawClient client = connect();
    client.produce(id, make_batch(id, {"a", "b"}));
    const End now = epoch_end(client, id, 0);
    EXPECT_EQ(now.epoch, 0);
    EXPECT_EQ(now.offset, 2);
    EXPECT_EQ(now.leader_epoch, 0);
  }
  restart();
  RawClient client = connect();
  client.produce(id, make_batch(id, {"c"}));
  const End first = epoch_end(client, id, 0);
  EXPECT_EQ(first.code, ErrorCode::kOk);
  EXPECT_EQ(first.epoch, 0);
  EXPECT_EQ(first.offset, 2);
  EXPECT_EQ(first.leader_epoch, 1);
  const End second = epoch_end(client, id, 5);
  EXPECT_EQ(second.epoch, 1);
  EXPECT_EQ(second.offset, 3);
  EXPECT_EQ(epoch_end(client, id, -1).epoch, -1);
  EXPECT_EQ(epoch_end(client, {id.topic, PartitionIndex(9)}, 0).code, ErrorCode::kUnknownPartition);
}

TEST_P(EpochEndTest, AnOldLeaderEpochIsToldTheLeaderItsEpochAndAddress) {
  const TopicPartition id = make_partition("t");
  restart();
  RawClient client = connect();
  fb::FetchPartition place(uuid_of(id.topic), 0, 0, 0, -1, 0);
  const Answer answer = client.fetch({.changed = {place}, .max_wait_ms = 10'000});
  const fb::FetchResult* result = answer.table<fb::FetchAnswer>().results()->Get(0);
  EXPECT_EQ(code_of(result->status()), ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(result->status()->leader_id(), 7);
  EXPECT_EQ(result->status()->leader_epoch(), 1);
  ASSERT_NE(result->status()->leader_address(), nullptr);
  EXPECT_EQ(result->status()->leader_address()->str(),
            "127.0.0.1:" + std::to_string(broker_->port()));
}

TIDELOG_WITH_SHARDS(EpochEndTest);

}  // namespace
}  // namespace tidelog::broker
