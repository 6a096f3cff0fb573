#include <gmock/gmock.h>

#include "tests/broker/fetch_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FetchSessionTest : public FetchTest {};

TEST_P(FetchSessionTest, TheSessionKeepsThePositions) {
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

TEST_P(FetchSessionTest, ChangedMovesAPositionAndForgottenLeavesOneOut) {
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

TEST_P(FetchSessionTest, TwoFetchesOpenAtOnceShareTheStreamInOrder) {
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

TEST_P(FetchSessionTest, AFetchBehindAnotherIsAnsweredWhenItsOwnWaitIsOver) {
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

TEST_P(FetchSessionTest, APartitionWithAnErrorLeavesTheSessionUntilItIsNamedAgain) {
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

TEST_P(FetchSessionTest, WhatWasReadOfADeletedTopicComesAsOneResultBeforeTheError) {
  const TopicPartition id = make_partition("t");
  RawClient producer = connect();
  RawClient client = connect();
  const std::uint64_t fetch = client.send_fetch(
      {.changed = {fetch_from(id, 0)}, .min_bytes = 1 << 20, .max_wait_ms = 4 * kLongWaitMs});
  // Each is read before the next one is there.
  std::uint64_t held = 0;
  for (const char* value : {"a", "b", "c"}) {
    producer.produce(id, make_batch(id, {value}));
    wait_until([&] { return memory_used("fetch") > held; });
    held = memory_used("fetch");
  }
  ASSERT_EQ(producer.delete_topic("t").code(), ErrorCode::kOk);
  const Answer answer = client.receive(fetch);
  const auto results = results_of(answer);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results.at(id).code, ErrorCode::kOk);
  EXPECT_THAT(results.at(id).values, ElementsAre("a", "b", "c"));
  const auto after =
      results_of(client.fetch({.session = session_of(answer), .max_wait_ms = kLongWaitMs}));
  EXPECT_EQ(after.at(id).code, ErrorCode::kUnknownTopic);
}

TEST_P(FetchSessionTest, OfAPartitionNamedTwiceTheLastPlaceCounts) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  for (const char* value : {"a", "b", "c"}) client.produce(id, make_batch(id, {value}));
  const auto results = results_of(
      client.fetch({.changed = {fetch_from(id, 0), fetch_from(id, 99), fetch_from(id, 2)},
                    .max_wait_ms = kLongWaitMs}));
  ASSERT_EQ(results.size(), 1U);
  EXPECT_THAT(results.at(id).values, ElementsAre("c"));
}

// All of them stand in the queue of those to be read when they go.
TEST_P(FetchSessionTest, ManyPositionsMoveAndGoAtOnce) {
  constexpr std::int32_t kPartitions = 500;
  const TopicId topic = make_topic("t", kPartitions);
  const TopicPartition last{topic, PartitionIndex(kPartitions - 1)};
  RawClient client = connect();
  client.produce(last, make_batch(last, {"a", "b"}));
  std::vector<fb::FetchPartition> all;
  std::vector<fb::ForgottenPartition> most;
  for (std::int32_t i = 0; i < kPartitions; ++i) {
    all.push_back(fetch_from({topic, PartitionIndex(i)}, 0));
    if (i + 1 < kPartitions) most.emplace_back(uuid_of(topic), i);
  }
  const Answer opened = client.fetch({.changed = all, .max_wait_ms = kLongWaitMs});
  EXPECT_THAT(results_of(opened).at(last).values, ElementsAre("a", "b"));
  const std::uint64_t session = session_of(opened);
  // Behind one that is parked, so that nothing is read yet when they move and go.
  const std::uint64_t parked = client.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  client.send_fetch({.session = session, .changed = all, .max_wait_ms = kLongWaitMs});
  const std::uint64_t forget =
      client.send_fetch({.session = session, .forgotten = most, .max_wait_ms = 1});
  EXPECT_THAT(results_of(client.receive(parked)).at(last).values, ElementsAre("a", "b"));
  client.receive(forget);
  client.produce(last, make_batch(last, {"c"}));
  const std::uint64_t closing = client.send_fetch({.session = session, .close_session = true});
  EXPECT_EQ(client.receive(closing).code(), ErrorCode::kOk);
  EXPECT_EQ(client.fetch({.session = session}).code(), ErrorCode::kUnknownSession);
}

TEST_P(FetchSessionTest, AnErrorThatWaitsIsDroppedWhenItsPartitionIsSoughtOrForgotten) {
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

TEST_P(FetchSessionTest, SessionsThatDoNotExistAreRefused) {
  RawClient client = connect();
  EXPECT_EQ(client.fetch({.session = 12345}).code(), ErrorCode::kUnknownSession);
  const TopicPartition id = make_partition("t");
  const std::uint64_t session = session_of(client.fetch({.changed = {fetch_from(id, 0)}}));
  RawClient other = connect();
  EXPECT_EQ(other.fetch({.session = session}).code(), ErrorCode::kUnknownSession)
      << "a session belongs to its connection";
}

TEST_P(FetchSessionTest, ClosingASessionAnswersItsOpenFetches) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::uint64_t session = session_of(client.fetch({.changed = {fetch_from(id, 0)}}));
  const std::uint64_t open = client.send_fetch({.session = session, .max_wait_ms = kLongWaitMs});
  EXPECT_EQ(client.fetch({.session = session, .close_session = true}).code(), ErrorCode::kOk);
  EXPECT_THAT(results_of(client.receive(open)), IsEmpty());
  EXPECT_EQ(client.fetch({.session = session}).code(), ErrorCode::kUnknownSession);
}

TEST_P(FetchSessionTest, ACloseThatIsLetInByTheAnswerOfAParkedFetchEndsTheSession) {
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

// A client whose machine is gone does not say so; only an answer finds it out.
TEST_P(FetchSessionTest, AFetchIsNotParkedForLongerThanTheLimit) {
  stop();
  limits_.fetch_wait_max = std::chrono::milliseconds(100);
  start();
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  EXPECT_THAT(results_of(client.fetch({.changed = {fetch_from(id, 0)}, .max_wait_ms = 3'600'000})),
              IsEmpty());
}

TEST_P(FetchSessionTest, ASessionHoldsABoundedNumberOfPartitions) {
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

TIDELOG_WITH_SHARDS(FetchSessionTest);

}  // namespace
}  // namespace tidelog::broker
