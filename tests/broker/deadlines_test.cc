// Requests that name a time by which they want to be answered, and those that are cancelled.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "broker/calls.h"
#include "tests/broker/broker_fixture.h"
#include "tests/sim/sim_executor.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CallsTest : public ::testing::Test {
 protected:
  struct Waiting final : public Call {
    Waiting(std::string called, std::vector<std::string>& told)
        : name(std::move(called)), late(told) {}
    void deadline_passed() override { late.push_back(name); }
    std::string name;
    std::vector<std::string>& late;
  };
  Call& add(const std::string& name, milliseconds within) {
    Call& call = calls_.add<Waiting>(name, late_);
    calls_.set_deadline(call, within);
    return call;
  }

  sim::SimExecutor executor_;
  Calls calls_{executor_};
  std::vector<std::string> late_;
};

TEST_F(CallsTest, EachIsToldOfItsDeadlineOnceAndNotBefore) {
  add("later", milliseconds(30));
  add("first", milliseconds(10));
  Call& gone = add("gone", milliseconds(20));
  executor_.run_for(milliseconds(9));
  EXPECT_THAT(late_, IsEmpty());
  executor_.run_for(milliseconds(1));
  EXPECT_THAT(late_, ElementsAre("first"));
  calls_.remove(gone);
  executor_.run_for(milliseconds(19));
  EXPECT_THAT(late_, ElementsAre("first"));
  executor_.run_for(milliseconds(1000));
  EXPECT_THAT(late_, ElementsAre("first", "later"));
}

TEST_F(CallsTest, ADeadlineThatIsSetAfterOneHasPassedHoldsToo) {
  add("first", milliseconds(10));
  executor_.run_for(milliseconds(100));
  add("second", milliseconds(10));
  executor_.run_for(milliseconds(9));
  EXPECT_THAT(late_, ElementsAre("first"));
  executor_.run_for(milliseconds(1));
  EXPECT_THAT(late_, ElementsAre("first", "second"));
}

class DeadlinesTest : public BrokerTest {
 protected:
  // Large enough that it is not made within a millisecond.
  static constexpr std::int32_t kManyPartitions = 500;
  static flatbuffers::FlatBufferBuilder creation(std::uint32_t deadline_ms) {
    flatbuffers::FlatBufferBuilder to;
    const auto name = to.CreateString("large");
    to.Finish(fb::CreateCreateTopicRequest(to, name, kManyPartitions, -1, 0, deadline_ms));
    return to;
  }
  void expect_it_is_made_all_the_same(RawClient& client) {
    wait_until([&] {
      const Answer answer = client.metadata({"large"});
      const auto* topic = answer.table<fb::MetadataAnswer>().topics()->Get(0);
      return code_of(topic->status()) == ErrorCode::kOk &&
             topic->partitions()->size() == static_cast<std::size_t>(kManyPartitions);
    });
  }
};

// Whatever the disk does, some of so many large batches take longer than a millisecond.
TEST_P(DeadlinesTest, WhatIsNotCommittedInTimeIsUnknownAndMayBeInTheLogLater) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const std::vector<std::byte> batch = make_large_batch(id, 4'000'000);
  std::int64_t sent = 0;
  std::int64_t unknown = 0;
  while (unknown == 0) {
    ASSERT_LT(sent, 500);
    const Answer answer =
        client.receive(client.send_produce({{id, batch}}, fb::Acks::All, /*deadline_ms=*/1));
    ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
    const auto* result = answer.table<fb::ProduceAnswer>().results()->Get(0);
    if (code_of(result->status()) == ErrorCode::kOk) {
      EXPECT_EQ(result->base_offset(), sent);
    } else {
      ++unknown;
      EXPECT_EQ(code_of(result->status()), ErrorCode::kUnknownOutcome);
      EXPECT_THAT(message_of(result->status()), HasSubstr("topic 't', partition 0"));
    }
    ++sent;
  }
  // Behind it, on the same connection, in order; nobody is answered twice.
  EXPECT_EQ(client.produce(id, make_batch(id, {"behind"})), sent);
}

TEST_P(DeadlinesTest, AChangeThatTakesLongerGoesOn) {
  RawClient client = connect();
  const Answer answer = client.call(wire::ApiKey::kCreateTopic, creation(/*deadline_ms=*/1));
  EXPECT_EQ(answer.code(), ErrorCode::kTimedOut);
  EXPECT_THAT(answer.message(), HasSubstr("creation of topic 'large'"));
  expect_it_is_made_all_the_same(client);
}

TEST_P(DeadlinesTest, AChangeThatIsCancelledGoesOn) {
  RawClient client = connect();
  const std::uint64_t asked = client.send(wire::ApiKey::kCreateTopic, creation(0));
  flatbuffers::FlatBufferBuilder table;
  table.Finish(fb::CreateCancelRequest(table, asked));
  EXPECT_TRUE(client.call(wire::ApiKey::kCancel, table).table<fb::CancelAnswer>().found());
  EXPECT_EQ(client.receive(asked).code(), ErrorCode::kCancelled);
  expect_it_is_made_all_the_same(client);
}

TIDELOG_WITH_SHARDS(DeadlinesTest);

}  // namespace
}  // namespace tidelog::broker
