// Cluster status and broker settings, as a client sees them.
#include <gmock/gmock.h>

#include "broker/handlers/answers.h"
#include "tests/broker/broker_fixture.h"

namespace tidelog::broker {
namespace {

using testing::HasSubstr;

class ClusterTest : public BrokerTest {
 protected:
  static Answer status(RawClient& client) {
    flatbuffers::FlatBufferBuilder to;
    to.Finish(fb::CreateClusterStatusRequest(to));
    return client.call(wire::ApiKey::kClusterStatus, to);
  }
  static Answer settings(RawClient& client,
                         const std::vector<std::pair<std::string, std::string>>& changes) {
    flatbuffers::FlatBufferBuilder to;
    std::vector<flatbuffers::Offset<fb::SettingChange>> listed;
    for (const auto& [name, value] : changes) {
      listed.push_back(fb::CreateSettingChangeDirect(to, name.c_str(), value.c_str()));
    }
    to.Finish(fb::CreateBrokerSettingsRequestDirect(to, &listed));
    return client.call(wire::ApiKey::kBrokerSettings, to);
  }
  static const fb::BrokerSetting& setting(const Answer& answer, std::string_view name) {
    for (const fb::BrokerSetting* each : *answer.table<fb::BrokerSettingsAnswer>().settings()) {
      if (each->name()->string_view() == name) return *each;
    }
    std::abort();
  }
};

TIDELOG_WITH_SHARDS(ClusterTest);

TEST_P(ClusterTest, StatusTellsWhoTheBrokerIsAndWhatItHolds) {
  make_topic("a", 3);
  make_topic("b", 2);
  RawClient client = connect();
  const Answer answer = status(client);
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  const auto& cluster = answer.table<fb::ClusterStatusAnswer>();
  EXPECT_EQ(cluster.controller(), 7);
  EXPECT_EQ(cluster.metadata()->string_view(), "local");
  ASSERT_EQ(cluster.brokers()->size(), 1U);
  const fb::BrokerStatus& broker = *cluster.brokers()->Get(0);
  EXPECT_EQ(broker.id(), 7);
  EXPECT_EQ(broker.state(), fb::BrokerState::Serving);
  EXPECT_EQ(broker.address()->str(), broker_->address());
  EXPECT_EQ(broker.admin()->str(), "127.0.0.1:" + std::to_string(broker_->admin_port()));
  EXPECT_EQ(broker.partitions(), 5);
  EXPECT_EQ(broker.leaders(), 5);
  EXPECT_THAT(broker.storage()->str(), HasSubstr(directory_.path()));
  EXPECT_GT(broker.started_ms(), 1'000'000'000'000);
}

TEST_P(ClusterTest, SettingsAreToldWithWhereTheyComeFrom) {
  RawClient client = connect();
  const Answer answer = settings(client, {});
  ASSERT_EQ(answer.code(), ErrorCode::kOk) << answer.message();
  EXPECT_EQ(answer.table<fb::BrokerSettingsAnswer>().broker_id(), 7);
  EXPECT_EQ(answer.table<fb::BrokerSettingsAnswer>().settings()->size(), setting_table().size());
  const fb::BrokerSetting& shards = setting(answer, "shards");
  EXPECT_EQ(shards.value()->str(), std::to_string(GetParam()));
  EXPECT_FALSE(shards.live());
  EXPECT_TRUE(setting(answer, "log.level").live());
}

TEST_P(ClusterTest, AChangedSettingIsUsedAtOnceByEveryShard) {
  RawClient client = connect();
  const Answer changed = settings(client, {{"default.partitions", "6"}});
  ASSERT_EQ(changed.code(), ErrorCode::kOk) << changed.message();
  EXPECT_EQ(setting(changed, "default.partitions").value()->str(), "6");
  EXPECT_EQ(setting(changed, "default.partitions").origin(), fb::SettingOrigin::Live);
  for (int i = 0; i < 4; ++i) {  // whichever shard accepts the connection
    RawClient other = connect();
    const std::string name = "t" + std::to_string(i);
    ASSERT_EQ(other.create_topic(name, 0).code(), ErrorCode::kOk);
    const Answer described = other.describe_topic(name);
    EXPECT_EQ(described.table<fb::DescribeTopicAnswer>().partitions()->size(), 6U);
  }
}

TEST_P(ClusterTest, ASettingThatNeedsARestartIsRefusedAndNothingChanges) {
  RawClient client = connect();
  const Answer refused = settings(client, {{"default.partitions", "6"}, {"shards", "3"}});
  EXPECT_EQ(refused.code(), ErrorCode::kInvalidSetting);
  EXPECT_THAT(refused.message(), HasSubstr("broker 7: shards cannot change while"));
  EXPECT_EQ(setting(settings(client, {}), "default.partitions").value()->str(), "1");
  const std::vector<std::pair<std::string, std::string>> many(101, {"log.level", "info"});
  EXPECT_EQ(settings(client, many).code(), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace tidelog::broker
