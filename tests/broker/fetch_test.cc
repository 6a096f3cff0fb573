#include <gmock/gmock.h>

#include <set>

#include "tests/broker/broker_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Long enough that a test which waits for it has failed.
constexpr std::uint32_t kLongWaitMs = 15'000;

class FetchTest : public BrokerTest {
 protected:
  struct Result_ {
    ErrorCode code = ErrorCode::kOk;
    std::string message;
    std::int64_t next_offset = -1;
    std::int64_t high_watermark = -1;
    std::int64_t start_offset = -1;
    std::int64_t diverging_offset = -1;
    std::int32_t diverging_epoch = -1;
    std::vector<std::string> values;
  };
  // By partition; every partition at most once.
  static std::map<TopicPartition, Result_> results_of(const Answer& answer) {
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    std::map<TopicPartition, Result_> all;
    std::size_t position = 0;
    const auto* results = answer.table<fb::FetchAnswer>().results();
    if (results == nullptr) return all;
    for (const fb::FetchResult* result : *results) {
      const TopicPartition id{topic_id_of(*result->topic()), PartitionIndex(result->partition())};
      const auto raw = answer.raw().subspan(position, result->bytes());
      position += result->bytes();
      const bool added =
          all.emplace(id, Result_{code_of(result->status()), message_of(result->status()),
                                  result->next_offset(), result->high_watermark(),
                                  result->start_offset(), result->diverging_offset(),
                                  result->diverging_epoch(), values_of(id, raw)})
              .second;
      EXPECT_TRUE(added) << "one result a partition";
    }
    EXPECT_EQ(position, answer.raw().size()) << "the counts add up";
    return all;
  }
  static std::uint64_t session_of(const Answer& answer) {
    EXPECT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    return answer.table<fb::FetchAnswer>().session();
  }
};

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

TEST_P(FetchTest, TheSessionKeepsThePositions) {
  const TopicId topic = make_topic("t", 5);
  RawClient client = connect();
  std::vector<fb::FetchPartition> all;
  for (std::int32_t i = 0; i < 5; ++i) all.push_back(fetch_from({topic, PartitionIndex(i)}, 0));
  const std::uint64_t session = session_of(client.fetch({.changed = all}));
  for (int round = 0; round < 4; ++round) {
    for (std::int32_t i = 0; i < 5; ++i) {
      const TopicPartition id{topic, PartitionIndex(i)};
      EXPECT_EQ(client.produce(id, make_batch(id, {std::to_string(round)})), round);
    }
    // Each further fetch names nothing and gets each record once, perhaps in several answers.
    std::map<TopicPartition, std::vector<std::string>> seen;
    while (seen.size() < 5) {
      const auto results =
          results_of(client.fetch({.session = session, .max_wait_ms = kLongWaitMs}));
      for (const auto& [id, result] : results) {
        EXPECT_EQ(result.next_offset, round + 1);
        for (const std::string& value : result.values) seen[id].push_back(value);
      }
    }
    for (const auto& [id, values] : seen) EXPECT_THAT(values, ElementsAre(std::to_string(round)));
  }
}

TEST_P(FetchTest, ChangedMovesAPositionAndForgottenLeavesOneOut) {
  const TopicId topic = make_topic("t", 2);
  const TopicPartition first{topic, PartitionIndex(0)};
  const TopicPartition second{topic, PartitionIndex(1)};
  RawClient client = connect();
  client.produce(first, make_batch(first, {"a"}));
  client.produce(first, make_batch(first, {"b"}));
  const std::uint64_t session = session_of(
      client.fetch({.changed = {fetch_from(first, 2), fetch_from(second, 0)}, .max_wait_ms = 1}));
  const auto moved = results_of(client.fetch(
      {.session = session, .changed = {fetch_from(first, 1)}, .max_wait_ms = kLongWaitMs}));
  EXPECT_THAT(moved.at(first).values, ElementsAre("b"));
  client.fetch({.session = session,
                .forgotten = {fb::ForgottenPartition(uuid_of(topic), 1)},
                .max_wait_ms = 0});
  client.produce(second, make_batch(second, {"unseen"}));
  client.produce(first, make_batch(first, {"seen"}));
  const auto after = results_of(client.fetch({.session = session, .max_wait_ms = kLongWaitMs}));
  EXPECT_EQ(after.size(), 1U);
  EXPECT_THAT(after.at(first).values, ElementsAre("seen"));
}

TEST_P(FetchTest, TwoFetchesOpenAtOnceShareTheStreamInOrder) {
  const TopicPartition id = make_partition("t");
  RawClient consumer = connect();
  RawClient producer = connect();
  const std::uint64_t session =
      session_of(consumer.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = 0}));
  std::vector<std::string> seen;
  std::uint64_t first = consumer.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  std::uint64_t second = consumer.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  constexpr int kRecords = 200;
  for (int i = 0; i < kRecords; ++i) {
    producer.send_produce({{id, make_batch(id, {std::to_string(i)})}});
  }
  while (seen.size() < kRecords) {
    const auto results = results_of(consumer.receive(first));
    if (results.contains(id)) {
      seen.insert(seen.end(), results.at(id).values.begin(), results.at(id).values.end());
    }
    first = second;
    second = consumer.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  }
  for (int i = 0; i < kRecords; ++i)
    EXPECT_EQ(seen[static_cast<std::size_t>(i)], std::to_string(i));
}

TEST_P(FetchTest, AFetchBehindAnotherIsAnsweredWhenItsOwnWaitIsOver) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::uint64_t session =
      session_of(client.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = 0}));
  const std::uint64_t patient = client.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  EXPECT_THAT(results_of(client.fetch({.session = session, .max_wait_ms = 20})), IsEmpty());
  RawClient producer = connect();
  producer.produce(id, make_batch(id, {"v"}));
  EXPECT_THAT(results_of(client.receive(patient)).at(id).values, ElementsAre("v"));
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
  std::map<TopicPartition, std::size_t> seen;
  std::uint64_t session = 0;
  std::vector<TopicPartition> order;
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
    // Nobody is more than two answers ahead while the others have something to give.
    if (total >= 40 && total < 60) {
      EXPECT_EQ(seen.size(), 4U) << "a partition starves";
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
  std::map<TopicPartition, Result_> results = results_of(answer);
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

TEST_P(FetchTest, APartitionWithAnErrorLeavesTheSessionUntilItIsNamedAgain) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  client.produce(id, make_batch(id, {"a"}));
  const Answer refused =
      client.fetch({.changed = {fetch_from(id, 99)}, .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(results_of(refused).at(id).code, ErrorCode::kOffsetOutOfRange);
  const std::uint64_t session = session_of(refused);
  EXPECT_THAT(results_of(client.fetch({.session = session, .max_wait_ms = 20})), IsEmpty());
  const auto again = results_of(client.fetch(
      {.session = session, .changed = {fetch_from(id, 0)}, .max_wait_ms = kLongWaitMs}));
  EXPECT_THAT(again.at(id).values, ElementsAre("a"));
}

TEST_P(FetchTest, AnErrorThatWaitsIsDroppedWhenItsPartitionIsSoughtOrForgotten) {
  const TopicId topic = make_topic("t", 3);
  // On one shard, however many there are.
  const TopicPartition first{topic, PartitionIndex(0)};
  const TopicPartition second{topic, PartitionIndex(2)};
  RawClient client = connect();
  for (const TopicPartition& id : {first, second}) client.produce(id, make_batch(id, {"a"}));
  for (const bool seek : {true, false}) {
    // Both positions are wrong, and the answer has room for one error only: the other waits.
    const Answer refused = client.fetch({.changed = {fetch_from(first, 99), fetch_from(second, 99)},
                                         .max_wait_ms = kLongWaitMs,
                                         .bytes_max = 200});
    const auto results = results_of(refused);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results.begin()->second.code, ErrorCode::kOffsetOutOfRange);
    const TopicPartition waiting = results.contains(first) ? second : first;
    if (seek) {
      const auto sought = results_of(client.fetch({.session = session_of(refused),
                                                   .changed = {fetch_from(waiting, 0)},
                                                   .max_wait_ms = kLongWaitMs}));
      EXPECT_EQ(sought.at(waiting).code, ErrorCode::kOk) << sought.at(waiting).message;
      EXPECT_THAT(sought.at(waiting).values, ElementsAre("a"));
    } else {
      EXPECT_THAT(results_of(client.fetch({.session = session_of(refused),
                                           .forgotten = {fb::ForgottenPartition(
                                               uuid_of(topic), waiting.partition.value())},
                                           .max_wait_ms = 0})),
                  IsEmpty());
    }
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

TEST_P(FetchTest, SessionsThatDoNotExistAreRefused) {
  RawClient client = connect();
  EXPECT_EQ(client.fetch({.session = 12345}).code(), ErrorCode::kUnknownSession);
  const TopicPartition id = make_partition("t");
  const std::uint64_t session = session_of(client.fetch({.changed = {fetch_from(id, 0)}}));
  RawClient other = connect();
  EXPECT_EQ(other.fetch({.session = session}).code(), ErrorCode::kUnknownSession)
      << "a session belongs to its connection";
}

TEST_P(FetchTest, ClosingASessionAnswersItsOpenFetches) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::uint64_t session = session_of(client.fetch({.changed = {fetch_from(id, 0)}}));
  const std::uint64_t open = client.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(client.fetch({.session = session, .close_session = true}).code(), ErrorCode::kOk);
  EXPECT_THAT(results_of(client.receive(open)), IsEmpty());
  EXPECT_EQ(client.fetch({.session = session}).code(), ErrorCode::kUnknownSession);
}

TEST_P(FetchTest, ACloseThatIsLetInByTheAnswerOfAParkedFetchEndsTheSession) {
  stop();
  limits_.requests_in_flight_max = 1;
  start();
  const TopicPartition id = make_partition("t");
  RawClient consumer = connect();
  RawClient producer = connect();
  for (std::int64_t i = 0; i < 20; ++i) {
    const std::uint64_t session = session_of(consumer.fetch({.changed = {fetch_from(id, i)}}));
    // The close has arrived, and may go on only when the parked fetch has settled.
    const auto [parked, close] =
        consumer.send_fetches({.session = session, .max_wait_ms = kLongWaitMs},
                              {.session = session, .close_session = true});
    producer.produce(id, make_batch(id, {"v"}));
    EXPECT_THAT(results_of(consumer.receive(parked)).at(id).values, ElementsAre("v"));
    EXPECT_EQ(consumer.receive(close).code(), ErrorCode::kOk);
    EXPECT_EQ(consumer.fetch({.session = session}).code(), ErrorCode::kUnknownSession);
  }
}

TEST_P(FetchTest, ASessionHoldsABoundedNumberOfPartitions) {
  RawClient client = connect();
  const auto many = [] {
    std::vector<fb::FetchPartition> named;
    const TopicId topic = TopicId::random();
    for (std::size_t i = 0; i < wire::kPartitionsPerRequestMax; ++i) {
      named.push_back(fetch_from({topic, PartitionIndex(static_cast<std::int32_t>(i))}, 0));
    }
    return named;
  };
  const std::vector<fb::FetchPartition> all = many();
  // Each answer takes one error away; the others stay.
  const Answer opened = client.fetch({.changed = all, .max_wait_ms = kLongWaitMs, .bytes_max = 1});
  const std::uint64_t session = session_of(opened);
  EXPECT_EQ(results_of(opened).size(), 1U);
  const Answer refused = client.fetch({.session = session, .changed = many(), .bytes_max = 1});
  EXPECT_EQ(refused.code(), ErrorCode::kTooLarge);
  EXPECT_THAT(refused.message(), HasSubstr("at most 20000 partitions"));
  // The same ones may be named again, and others in their place.
  EXPECT_EQ(
      results_of(
          client.fetch(
              {.session = session, .changed = all, .max_wait_ms = kLongWaitMs, .bytes_max = 1}))
          .size(),
      1U);
  std::vector<fb::ForgottenPartition> left;
  for (const fb::FetchPartition& named : all) left.emplace_back(named.topic(), named.partition());
  const Answer exchanged = client.fetch({.session = session,
                                         .changed = many(),
                                         .forgotten = left,
                                         .max_wait_ms = kLongWaitMs,
                                         .bytes_max = 1});
  EXPECT_EQ(results_of(exchanged).begin()->second.code, ErrorCode::kUnknownTopic);
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

TEST_P(FetchTest, WhatIsNoLongerInMemoryComesFromTheDisk) {
  stop();
  tail_cache_bytes_ = 1 << 20;
  start();
  const TopicId topic = make_topic("t", 2);
  RawClient client = connect();
  std::vector<fb::FetchPartition> all;
  constexpr std::int32_t kBatches = 150;
  for (std::int32_t p = 0; p < 2; ++p) {
    const TopicPartition id{topic, PartitionIndex(p)};
    for (std::int32_t i = 0; i < kBatches; ++i) {
      client.produce(id, make_batch(id, {std::to_string(i), std::string(30'000, 'x')}));
    }
    all.push_back(fetch_from(id, 0));
  }
  std::map<TopicPartition, std::int32_t> seen;
  std::uint64_t session = 0;
  while (seen.size() < 2 ||
         std::ranges::any_of(seen, [](const auto& entry) { return entry.second < kBatches; })) {
    const Answer answer = client.fetch({.session = session,
                                        .changed = session == 0 ? all : decltype(all){},
                                        .max_wait_ms = kLongWaitMs,
                                        .bytes_max = 300'000});
    session = session_of(answer);
    for (const auto& [id, result] : results_of(answer)) {
      ASSERT_EQ(result.code, ErrorCode::kOk) << result.message;
      for (std::size_t i = 0; i < result.values.size(); i += 2) {
        EXPECT_EQ(result.values[i], std::to_string(seen[id]++));
      }
    }
  }
}

TEST_P(FetchTest, AColdReadOfAPartitionThatIsForgottenDoesNotHoldUpTheAnswer) {
  stop();
  tail_cache_bytes_ = 1 << 20;
  start();
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  constexpr std::int64_t kBatches = 150;
  for (std::int64_t i = 0; i < kBatches; ++i) client.produce(id, make_large_batch(id, 30'000));
  const std::uint64_t session =
      session_of(client.fetch({.changed = {fetch_from(id, kBatches)}, .max_wait_ms = 0}));
  // The first asks the disk; the second leaves the partition before the disk has answered.
  const auto [reading, behind] =
      client.send_fetches({.session = session, .changed = {fetch_from(id, 0)}, .max_wait_ms = 0},
                          {.session = session,
                           .forgotten = {fb::ForgottenPartition(uuid_of(id.topic), 0)},
                           .max_wait_ms = 4 * kLongWaitMs});
  EXPECT_THAT(results_of(client.receive(reading)), IsEmpty());
  EXPECT_EQ(client.fetch({.session = session, .close_session = true}).code(), ErrorCode::kOk);
  EXPECT_THAT(results_of(client.receive(behind)), IsEmpty());
}

TEST_P(FetchTest, ASlowReaderIsBoundedAndLosesNothing) {
  stop();
  limits_.unsent_bytes_max = 256 << 10;
  fetch_memory_bytes_ = 4 << 20;
  start();
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  constexpr int kBatches = 400;
  for (int i = 0; i < kBatches; ++i) {
    client.produce(id, make_batch(id, {std::to_string(i), std::string(50'000, 'x')}));
  }
  // Asks for everything and takes nothing of it for a while.
  RawClient slow = connect();
  const std::uint64_t session = session_of(slow.fetch({.changed = {fetch_from(id, kBatches * 2)}}));
  std::vector<std::uint64_t> asked;
  asked.push_back(slow.send_fetch({.session = session,
                                   .changed = {fetch_from(id, 0)},
                                   .max_wait_ms = kLongWaitMs,
                                   .bytes_max = 300'000}));
  for (int i = 0; i < 120; ++i) {
    asked.push_back(
        slow.send_fetch({.session = session, .max_wait_ms = kLongWaitMs, .bytes_max = 300'000}));
  }
  // Others are served meanwhile.
  for (int i = 0; i < 20; ++i) {
    RawClient other = connect();
    EXPECT_THAT(results_of(other.fetch({.changed = {fetch_from(id, 2 * i)},
                                        .max_wait_ms = kLongWaitMs,
                                        .bytes_max = 1}))
                    .at(id)
                    .values.front(),
                std::to_string(i));
  }
  int seen = 0;
  for (const std::uint64_t correlation : asked) {
    if (seen == kBatches) break;
    const auto results = results_of(slow.receive(correlation));
    for (std::size_t i = 0; i < results.at(id).values.size(); i += 2) {
      EXPECT_EQ(results.at(id).values[i], std::to_string(seen++));
    }
  }
  EXPECT_EQ(seen, kBatches);
}

TEST_P(FetchTest, ConsumersThatPauseHoldNoMemoryThatOthersNeed) {
  stop();
  fetch_memory_bytes_ = 1 << 20;
  start();
  const TopicId topic = make_topic("t", 4);
  RawClient producer = connect();
  std::vector<fb::FetchPartition> all;
  constexpr std::size_t kBatches = 12;
  for (std::int32_t p = 0; p < 4; ++p) {
    const TopicPartition id{topic, PartitionIndex(p)};
    for (std::size_t i = 0; i < kBatches; ++i) {
      producer.produce(id, make_large_batch(id, 50'000));
    }
    all.push_back(fetch_from(id, 0));
  }
  // Each reads once, of all shards, and then no more for as long as the test lasts.
  std::vector<RawClient> paused;
  std::vector<std::uint64_t> sessions;
  std::vector<std::size_t> seen;
  const auto count = [](const Answer& answer) {
    std::size_t values = 0;
    for (const auto& [id, result] : results_of(answer)) values += result.values.size();
    return values;
  };
  for (int i = 0; i < 12; ++i) {
    paused.push_back(connect());
    const Answer answer =
        paused.back().fetch({.changed = all, .max_wait_ms = kLongWaitMs, .bytes_max = 400'000});
    sessions.push_back(session_of(answer));
    seen.push_back(count(answer));
  }
  // What they did not take yet comes once, when they go on.
  for (std::size_t i = 0; i < paused.size(); ++i) {
    while (seen[i] < 4 * kBatches) {
      const std::size_t more = count(paused[i].fetch(
          {.session = sessions[i], .max_wait_ms = kLongWaitMs, .bytes_max = 400'000}));
      ASSERT_GT(more, 0U);
      seen[i] += more;
    }
    EXPECT_EQ(seen[i], 4 * kBatches);
    EXPECT_THAT(results_of(paused[i].fetch({.session = sessions[i]})), IsEmpty());
  }
}

TIDELOG_WITH_SHARDS(FetchTest);

}  // namespace
}  // namespace tidelog::broker
