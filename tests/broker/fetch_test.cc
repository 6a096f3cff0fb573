#include <gmock/gmock.h>

#include <set>

#include "tests/broker/fetch_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_P(FetchTest, DataThatIsThereIsAnsweredAtOnce) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a", "b"}));
  const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = kLongWaitMs});
  const auto results = results_of(answer);
  EXPECT_THAT(results.at(id).values, ElementsAre("a", "b"));
  EXPECT_EQ(results.at(id).next_offset, 2);
  EXPECT_EQ(results.at(id).high_watermark, 2);
  EXPECT_EQ(results.at(id).start_offset, 0);
}

TEST_P(FetchTest, WithoutNewsTheAnswerIsEmptyWhenTheWaitIsOver) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  for (const std::uint32_t wait : {0U, 50U}) {
    const Answer answer = client.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = wait});
    EXPECT_THAT(results_of(answer), IsEmpty());
    EXPECT_NE(session_of(answer), 0U);
  }
}

TEST_P(FetchTest, AParkedFetchIsWokenByAProduceOfAnotherConnection) {
  const TopicPartition id = make_partition("t");
  RawClient consumer = connect();
  RawClient producer = connect();
  const std::uint64_t parked =
      consumer.send_fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = kLongWaitMs});
  producer.produce(id, make_batch(id, {"news"}));
  EXPECT_THAT(results_of(consumer.receive(parked)).at(id).values, ElementsAre("news"));
}

TEST_P(FetchTest, ACancelledFetchWaitsNoLongerAndTheSessionGoesOn) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const Answer opened = client.fetch({.changed = {fetch_from(id, 0)}});
  const std::uint64_t session = opened.table<fb::FetchAnswer>().session();
  const auto cancel = [&client](std::uint64_t correlation) {
    flatbuffers::FlatBufferBuilder table;
    table.Finish(fb::CreateCancelRequest(table, correlation));
    const Answer answer = client.call(wire::ApiKey::kCancel, table);
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    return answer.table<fb::CancelAnswer>().found();
  };
  const std::uint64_t first = client.send_fetch({.session = session, .max_wait_ms = 60'000});
  const std::uint64_t second = client.send_fetch({.session = session, .max_wait_ms = 60'000});
  EXPECT_TRUE(cancel(second));
  EXPECT_EQ(client.receive(second).table<fb::FetchAnswer>().results()->size(), 0U);
  EXPECT_TRUE(cancel(first));
  EXPECT_EQ(client.receive(first).table<fb::FetchAnswer>().results()->size(), 0U);
  EXPECT_FALSE(cancel(first)) << "it was answered";
  EXPECT_FALSE(cancel(999'999));
  client.produce(id, make_batch(id, {"x"}));
  const Answer news = client.fetch({.session = session, .max_wait_ms = 10'000});
  EXPECT_EQ(values_of(id, news.raw()), std::vector<std::string>{"x"});
}

TEST_P(FetchTest, MinBytesWaitsForEnoughAndGivesWhatIsThereInTheEnd) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  RawClient producer = connect();
  const std::uint64_t enough = client.send_fetch(
      {.changed = {fetch_from(id, 0)}, .min_bytes = 5'000, .max_wait_ms = kLongWaitMs});
  for (int i = 0; i < 6; ++i) producer.produce(id, make_large_batch(id, 1'000));
  const Answer answer = client.receive(enough);
  EXPECT_GE(answer.raw().size(), 5'000U);
  results_of(answer);
  RawClient other = connect();
  const Answer little =
      other.fetch({.changed = {fetch_from(id, 5)}, .min_bytes = 1'000'000, .max_wait_ms = 60});
  EXPECT_EQ(results_of(little).at(id).values.size(), 1U);
}

TEST_P(FetchTest, BytesMaxBoundsAnAnswerAndNoPartitionStarves) {
  const TopicId topic = make_topic("t", 4);
  RawClient client = connect();
  std::vector<fb::FetchPartition> all;
  constexpr int kBatches = 20;
  for (std::int32_t i = 0; i < 4; ++i) {
    const TopicPartition id{topic, PartitionIndex(i)};
    for (int n = 0; n < kBatches; ++n) client.produce(id, make_large_batch(id, 10'000));
    all.push_back(fetch_from(id, 0, -1, 30'000));
  }
  const auto partition = [topic](std::size_t i) {
    return TopicPartition{topic, PartitionIndex(static_cast<std::int32_t>(i))};
  };
  std::map<TopicPartition, std::size_t> seen;
  std::uint64_t session = 0;
  for (std::size_t total = 0; total < 4 * kBatches;) {
    const Answer answer = client.fetch({.session = session,
                                        .changed = session == 0 ? all : decltype(all){},
                                        .max_wait_ms = kLongWaitMs,
                                        .bytes_max = 64'000});
    session = session_of(answer);
    EXPECT_LE(answer.raw().size(), 64'000U);
    for (const auto& [id, result] : results_of(answer)) {
      seen[id] += result.values.size();
      total += result.values.size();
      EXPECT_LE(seen[id], static_cast<std::size_t>(kBatches));
    }
    // Of partitions on the same shard none is more than two answers ahead of another. Between
    // shards the operating system decides who comes first.
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t j = i + static_cast<std::size_t>(GetParam()); j < all.size();
           j += static_cast<std::size_t>(GetParam())) {
        const auto ahead = static_cast<std::int64_t>(seen[partition(i)]) -
                           static_cast<std::int64_t>(seen[partition(j)]);
        EXPECT_LE(std::abs(ahead), 8) << "a partition starves";
      }
    }
  }
  for (const auto& [id, count] : seen) EXPECT_EQ(count, static_cast<std::size_t>(kBatches));
}

TEST_P(FetchTest, PositionsThatCannotBeReadAreAnsweredWithTheReason) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a", "b"}));
  const TopicPartition no_topic{TopicId::random(), PartitionIndex(0)};
  const TopicPartition no_partition{id.topic, PartitionIndex(9)};
  const Answer answer =
      client.fetch({.changed = {fetch_from(no_topic, 0), fetch_from(no_partition, 0)},
                    .max_wait_ms = kLongWaitMs});
  std::map<TopicPartition, FetchedPartition> results = results_of(answer);
  while (results.size() < 2) {
    for (auto& entry :
         results_of(client.fetch({.session = session_of(answer), .max_wait_ms = kLongWaitMs}))) {
      results.insert(entry);
    }
  }
  EXPECT_EQ(results.at(no_topic).code, ErrorCode::kUnknownTopic);
  EXPECT_EQ(results.at(no_partition).code, ErrorCode::kUnknownPartition);
  for (const std::int64_t offset : {-5, 3, 1'000'000}) {
    RawClient other = connect();
    const auto refused =
        results_of(other.fetch({.changed = {fetch_from(id, offset)}, .max_wait_ms = kLongWaitMs}));
    EXPECT_EQ(refused.at(id).code, ErrorCode::kOffsetOutOfRange) << offset;
    EXPECT_THAT(refused.at(id).message, HasSubstr("broker 7, topic 't', partition 0"));
  }
}

TEST_P(FetchTest, ARecordOfAnEpochThatIsNotInTheLogDiverges) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a", "b", "c"}));
  // The last record was read in an epoch of which this log knows nothing.
  const auto results =
      results_of(client.fetch({.changed = {fetch_from(id, 2, 500)}, .max_wait_ms = kLongWaitMs}));
  EXPECT_EQ(results.at(id).code, ErrorCode::kDiverged);
  EXPECT_EQ(results.at(id).diverging_offset, 2);
  EXPECT_LT(results.at(id).diverging_epoch, 500);
}

TEST_P(FetchTest, AnEpochThatAgreesIsServed) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a"}));
  client.produce(id, make_batch(id, {"b"}));
  const Answer described = client.describe_topic("t");
  const std::int32_t epoch =
      described.table<fb::DescribeTopicAnswer>().partitions()->Get(0)->leader_epoch();
  const auto results =
      results_of(client.fetch({.changed = {fetch_from(id, 1, epoch)}, .max_wait_ms = kLongWaitMs}));
  EXPECT_THAT(results.at(id).values, ElementsAre("b"));
}

TEST_P(FetchTest, HundredsOfParkedFetchesAreAllWoken) {
  const TopicId topic = make_topic("t", 3);
  constexpr std::int32_t kConsumers = 300;
  std::vector<RawClient> consumers;
  std::vector<std::uint64_t> parked;
  for (std::int32_t i = 0; i < kConsumers; ++i) {
    consumers.push_back(connect());
    std::vector<fb::FetchPartition> all;
    for (std::int32_t p = 0; p < 3; ++p) all.push_back(fetch_from({topic, PartitionIndex(p)}, 0));
    parked.push_back(consumers.back().send_fetch({.changed = all, .max_wait_ms = 4 * kLongWaitMs}));
  }
  const TopicPartition id{topic, PartitionIndex(1)};
  RawClient producer = connect();
  producer.produce(id, make_batch(id, {"wake up"}));
  for (std::size_t i = 0; i < consumers.size(); ++i) {
    EXPECT_THAT(results_of(consumers[i].receive(parked[i])).at(id).values, ElementsAre("wake up"));
  }
}

TIDELOG_WITH_SHARDS(FetchTest);

}  // namespace
}  // namespace tidelog::broker
