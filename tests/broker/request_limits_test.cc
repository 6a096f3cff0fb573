// Requests that are small and ask for much.
#include <gmock/gmock.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/broker/broker_fixture.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class RequestLimitsTest : public BrokerTest {
 protected:
  using Builder = flatbuffers::FlatBufferBuilder;
  // A sound table names no more tables than its bytes could hold; these are of no use otherwise.
  static void make_room_for_names(Builder& to, std::size_t count) {
    to.CreateString(std::string(12 * count + 256, 'x'));
  }
  // One setting, named `count` times.
  static auto settings(Builder& to, std::size_t count, const std::string& name,
                       const std::string& value) {
    make_room_for_names(to, count);
    const auto key = to.CreateString(name);
    const auto text = to.CreateString(value);
    return to.CreateVector(
        std::vector<flatbuffers::Offset<fb::Setting>>(count, fb::CreateSetting(to, key, text)));
  }
  static Answer create(RawClient& client, std::size_t count, const std::string& name,
                       const std::string& value) {
    Builder to;
    const auto listed = settings(to, count, name, value);
    const auto topic = to.CreateString("new");
    to.Finish(fb::CreateCreateTopicRequest(to, topic, 1, -1, listed));
    return client.call(wire::ApiKey::kCreateTopic, to);
  }
  static Answer alter(RawClient& client, std::size_t count, const std::string& name,
                      const std::string& value) {
    Builder to;
    const auto listed = settings(to, count, name, value);
    const auto topic = to.CreateString("t");
    to.Finish(fb::CreateAlterTopicRequest(to, topic, listed));
    return client.call(wire::ApiKey::kAlterTopic, to);
  }
  static Answer change(RawClient& client, std::size_t count, const std::string& name,
                       const std::string& value) {
    Builder to;
    make_room_for_names(to, count);
    const auto key = to.CreateString(name);
    const auto text = to.CreateString(value);
    const auto listed = to.CreateVector(std::vector<flatbuffers::Offset<fb::SettingChange>>(
        count, fb::CreateSettingChange(to, key, text)));
    to.Finish(fb::CreateBrokerSettingsRequest(to, listed));
    return client.call(wire::ApiKey::kBrokerSettings, to);
  }
};

TEST_P(RequestLimitsTest, SettingsNamedAgainAndAgainAreRefused) {
  make_topic("t");
  RawClient client = connect();
  constexpr std::size_t kTimes = 300'000;
  EXPECT_EQ(create(client, kTimes, "retention.ms", "1000000").code(), ErrorCode::kTooLarge);
  EXPECT_EQ(alter(client, kTimes, "retention.ms", "1000000").code(), ErrorCode::kTooLarge);
  EXPECT_EQ(change(client, kTimes, "log.level", "info").code(), ErrorCode::kTooLarge);
  EXPECT_EQ(create(client, 101, "retention.ms", "1000000").code(), ErrorCode::kTooLarge);
  EXPECT_EQ(create(client, 100, "retention.ms", "1000000").code(), ErrorCode::kOk);
  EXPECT_EQ(alter(client, 100, "retention.ms", "1000000").code(), ErrorCode::kOk);
  EXPECT_EQ(change(client, 100, "log.level", "info").code(), ErrorCode::kOk);
}

TEST_P(RequestLimitsTest, SettingsWithLongNamesOrValuesAreRefused) {
  make_topic("t");
  RawClient client = connect();
  const std::string longest = std::string(1024 - 4, '0') + "1024";
  // Longer than any number is written, and still one.
  EXPECT_EQ(create(client, 1, "max.message.bytes", longest).code(), ErrorCode::kOk);
  for (const auto& ask : {&RequestLimitsTest::create, &RequestLimitsTest::alter}) {
    const Answer value = ask(client, 1, "max.message.bytes", "0" + longest);
    EXPECT_EQ(value.code(), ErrorCode::kInvalidSetting);
    EXPECT_THAT(value.message(), HasSubstr("1024 bytes, not 1025"));
    const Answer name = ask(client, 1, std::string(1025, 'x'), "1");
    EXPECT_EQ(name.code(), ErrorCode::kInvalidSetting);
    EXPECT_THAT(name.message(), HasSubstr("1024 bytes, not 1025"));
  }
  EXPECT_THAT(change(client, 1, "default.partitions", std::string(1024, '0') + "1").message(),
              HasSubstr("1024 bytes, not 1025"));
}

TEST_P(RequestLimitsTest, AnErrorThatRepeatsWhatCameStaysShortAndIsStillText) {
  RawClient client = connect();
  // Characters of two bytes each, at odd and at even places.
  for (const std::string_view begin : {"", "x"}) {
    std::string name(begin);
    while (name.size() < wire::kFrameBytesMax - 1024) name += "\u00e4";
    const Answer answer = client.delete_topic(name);
    EXPECT_EQ(answer.code(), ErrorCode::kUnknownTopic);
    EXPECT_LT(answer.prefix.frame_bytes, 8192U);
    EXPECT_GE(answer.message().size(), 4095U);
    EXPECT_THAT(answer.message(), EndsWith("\u00e4"));
  }
}

TEST_P(RequestLimitsTest, DeleteRecordsNamesAPartitionOnce) {
  const TopicPartition id = make_partition("t");
  RawClient client = connect();
  const auto ask = [&](std::size_t times) {
    const std::vector<fb::DeleteRecordsEntry> entries(
        times, fb::DeleteRecordsEntry(uuid_of(id.topic), 0, 0, 0));
    Builder to;
    to.Finish(fb::CreateDeleteRecordsRequest(to, to.CreateVectorOfStructs(entries)));
    return client.call(wire::ApiKey::kDeleteRecords, to);
  };
  const Answer twice = ask(2);
  EXPECT_EQ(twice.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(twice.message(), HasSubstr("more than once"));
  const Answer once = ask(1);
  ASSERT_EQ(once.code(), ErrorCode::kOk) << once.message();
  const auto* results = once.table<fb::DeleteRecordsAnswer>().results();
  ASSERT_EQ(results->size(), 1U);
  EXPECT_EQ(results->Get(0)->status(), nullptr);
  EXPECT_EQ(results->Get(0)->start_offset(), 0);
}

// Who leaves before the answer still has its changes made: they wait in a queue.
class ChangesTest : public BrokerTest {
 protected:
  void SetUp() override {
    limits_.requests_in_flight_max = 10'000;
    limits_.bytes_in_flight_max = 1 << 30;
    start();
    make_topic("t");
  }

  struct Outcome {
    int made = 0;
    int refused = 0;
  };
  // Sends so many changes at once, each of which sets retention.ms so many times, by values of this
  // length.
  Outcome change(int changes, int settings, std::size_t value_bytes) {
    RawClient client = connect();
    std::vector<std::byte> requests;
    for (int i = 0; i < changes; ++i) {
      flatbuffers::FlatBufferBuilder to;
      const auto name = to.CreateString("retention.ms");
      std::string number = std::to_string(1'000'000 + i);
      number.insert(0, value_bytes - number.size(), '0');
      std::vector<flatbuffers::Offset<fb::Setting>> named;
      for (int n = 0; n < settings; ++n) {
        named.push_back(fb::CreateSetting(to, name, to.CreateString(number)));
      }
      const auto listed = to.CreateVector(named);
      to.Finish(fb::CreateAlterTopicRequest(to, to.CreateString("t"), listed));
      const std::vector<std::byte> request = client.encode(wire::ApiKey::kAlterTopic, to, {});
      requests.insert(requests.end(), request.begin(), request.end());
    }
    client.send_bytes(requests);
    Outcome outcome;
    while (outcome.made + outcome.refused < changes) {
      const std::optional<Answer> answer = client.receive();
      EXPECT_TRUE(answer);
      if (!answer) break;
      if (answer->code() == ErrorCode::kOk) {
        ++outcome.made;
        continue;
      }
      ++outcome.refused;
      EXPECT_EQ(answer->code(), ErrorCode::kOverloaded) << answer->message();
    }
    return outcome;
  }
};

TEST_P(ChangesTest, TooManyAtOnceAreRefused) {
  const Outcome outcome = change(3'000, 1, 7);
  EXPECT_GE(outcome.made, 1000);
  EXPECT_GT(outcome.refused, 0);
  make_topic("another");
}

TEST_P(ChangesTest, ThatNameTooMuchAtOnceAreRefused) {
  const Outcome outcome = change(600, 100, 1000);
  EXPECT_GE(outcome.made, (16 << 20) / (100 * 1012));
  EXPECT_GT(outcome.refused, 0);
  make_topic("another");
}

TIDELOG_WITH_SHARDS(ChangesTest);
TIDELOG_WITH_SHARDS(RequestLimitsTest);

}  // namespace
}  // namespace tidelog::broker
