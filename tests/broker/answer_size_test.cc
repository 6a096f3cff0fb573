// No answer outgrows the frame that its client takes, however much it has to say.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/broker/broker_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

// The smallest frames that a client may be content with.
constexpr std::size_t kFrameBytesMax = wire::kBatchBytesMax + wire::kFrameOverheadBytesMax;
constexpr std::int32_t kEntries = static_cast<std::int32_t>(wire::kPartitionsPerRequestMax);

class AnswerSizeTest : public BrokerTest {
 protected:
  void SetUp() override {
    start();
    // Each entry is refused with a sentence that names the topic.
    topic_ = make_topic(std::string(wire::kTopicNameBytesMax, 't'));
    client_ = std::make_unique<RawClient>(broker_->port());
    ASSERT_EQ(client_->hello(-1, kFrameBytesMax).code(), ErrorCode::kOk);
  }
  TopicPartition missing(std::int32_t i) const { return {topic_, PartitionIndex(i + 1)}; }

  TopicId topic_;
  std::unique_ptr<RawClient> client_;
};

TEST_P(AnswerSizeTest, AFetchOfManyUnknownPartitionsIsAnsweredInSeveralFrames) {
  std::vector<fb::FetchPartition> all;
  all.reserve(wire::kPartitionsPerRequestMax);
  for (std::int32_t i = 0; i < kEntries; ++i) all.push_back(fetch_from(missing(i), 0));
  std::uint64_t session = 0;
  std::size_t told = 0;
  while (told < all.size()) {
    const Answer answer = client_->fetch({.session = session,
                                          .changed = session == 0 ? all : decltype(all){},
                                          .max_wait_ms = 15'000});
    ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    EXPECT_LE(answer.prefix.frame_bytes, kFrameBytesMax);
    const auto& table = answer.table<fb::FetchAnswer>();
    session = table.session();
    ASSERT_GT(table.results()->size(), 0U);
    told += table.results()->size();
    for (const fb::FetchResult* result : *table.results()) {
      ASSERT_EQ(code_of(result->status()), ErrorCode::kUnknownPartition);
    }
  }
}

TEST_P(AnswerSizeTest, AProduceOfManyUnknownPartitionsIsAnsweredInSeveralParts) {
  std::vector<RawClient::ProduceEntry> entries;
  entries.reserve(wire::kPartitionsPerRequestMax);
  for (std::int32_t i = 0; i < kEntries; ++i) entries.push_back({missing(i), {}});
  client_->send_produce(entries);
  std::size_t told = 0;
  bool more = true;
  while (more) {
    const std::optional<Answer> answer = client_->receive();
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->code(), ErrorCode::kOk) << answer->message();
    EXPECT_LE(answer->prefix.frame_bytes, kFrameBytesMax);
    told += answer->table<fb::ProduceAnswer>().results()->size();
    more = answer->more_parts();
  }
  EXPECT_EQ(told, entries.size());
}

TEST_P(AnswerSizeTest, OffsetsOfManyUnknownPartitionsAreRefusedInOneFrame) {
  std::vector<fb::ListOffsetsEntry> entries;
  entries.reserve(wire::kPartitionsPerRequestMax);
  for (std::int32_t i = 0; i < kEntries; ++i) {
    entries.emplace_back(uuid_of(topic_), missing(i).partition.value(), 0, -1);
  }
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateListOffsetsRequest(to, to.CreateVectorOfStructs(entries)));
  const Answer answer = client_->call(wire::ApiKey::kListOffsets, to);
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  EXPECT_LE(answer.prefix.frame_bytes, kFrameBytesMax);
  const auto* results = answer.table<fb::ListOffsetsAnswer>().results();
  ASSERT_EQ(results->size(), entries.size());
  for (const fb::ListOffsetsResult* result : *results) {
    ASSERT_EQ(code_of(result->status()), ErrorCode::kUnknownPartition);
  }
  EXPECT_NE(message_of(results->Get(0)->status()), "") << "the first ones say more";
}

TEST_P(AnswerSizeTest, DeletionsInManyUnknownPartitionsAreRefusedInOneFrame) {
  std::vector<fb::DeleteRecordsEntry> entries;
  entries.reserve(wire::kPartitionsPerRequestMax);
  for (std::int32_t i = 0; i < kEntries; ++i) {
    entries.emplace_back(uuid_of(topic_), missing(i).partition.value(), 0, -1);
  }
  flatbuffers::FlatBufferBuilder to;
  to.Finish(fb::CreateDeleteRecordsRequest(to, to.CreateVectorOfStructs(entries)));
  const Answer answer = client_->call(wire::ApiKey::kDeleteRecords, to);
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  EXPECT_LE(answer.prefix.frame_bytes, kFrameBytesMax);
  const auto* results = answer.table<fb::DeleteRecordsAnswer>().results();
  ASSERT_EQ(results->size(), entries.size());
  for (const fb::DeleteRecordsResult* result : *results) {
    ASSERT_EQ(code_of(result->status()), ErrorCode::kUnknownPartition);
    ASSERT_EQ(result->start_offset(), -1);
  }
  EXPECT_NE(message_of(results->Get(0)->status()), "") << "the first ones say more";
}

TIDELOG_WITH_SHARDS(AnswerSizeTest);

}  // namespace
}  // namespace tidelog::broker
