#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "replication/cluster_view.h"
#include "wire/limits.h"

namespace tidelog::replication {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(TopicSettingsTest, EveryDefaultOfTheTableIsAValidValue) {
  for (const TopicSettingInfo& info : topic_setting_table()) {
    TopicSettings settings;
    EXPECT_EQ(settings.value(info.name), info.default_value);
    ASSERT_TRUE(settings.set(info.name, info.default_value)) << info.name;
    EXPECT_EQ(settings.values.at(std::string(info.name)), info.default_value)
        << "the default is not in its plain form";
  }
}

TEST(TopicSettingsTest, SettingsReachTheLog) {
  TopicSettings settings;
  ASSERT_TRUE(settings.set("segment.bytes", "1MiB"));
  ASSERT_TRUE(settings.set("max.message.bytes", "2048"));
  ASSERT_TRUE(settings.set("message.timestamp.type", "LogAppendTime"));
  ASSERT_TRUE(settings.set("min.insync.replicas", "2"));
  EXPECT_EQ(settings.log_settings().segment_bytes, 1u << 20);
  EXPECT_EQ(settings.log_settings().batch_bytes_max, 2048u);
  EXPECT_TRUE(settings.log_settings().log_append_time);
  EXPECT_EQ(settings.min_insync_replicas(), 2);
  EXPECT_EQ(settings.values.at("segment.bytes"), "1048576");
}

TEST(TopicSettingsTest, TheHintOfATooLargeBatchNamesTheLargestThatAnyTopicTakes) {
  const std::string largest = std::to_string(wire::kBatchBytesMax);
  ASSERT_TRUE(TopicSettings().set("max.message.bytes", largest));
  EXPECT_THAT(std::string(error_info(ErrorCode::kBatchTooLarge).hint), HasSubstr(largest));
}

TEST(TopicSettingsTest, MinusOneMeansForEverAndAnySize) {
  TopicSettings settings;
  ASSERT_TRUE(settings.set("retention.ms", "-1"));
  ASSERT_TRUE(settings.set("retention.bytes", "-1"));
  EXPECT_EQ(settings.log_settings().retention_ms, -1);
  EXPECT_EQ(settings.log_settings().retention_bytes, -1);
  ASSERT_TRUE(settings.set("retention.bytes", "1GiB"));
  EXPECT_EQ(settings.log_settings().retention_bytes, 1LL << 30);
  EXPECT_THAT(settings.set("retention.ms", "0").error().message(), HasSubstr("-1 is no limit"));
  EXPECT_THAT(settings.set("retention.bytes", "x").error().message(), HasSubstr("-1 is no limit"));
  EXPECT_FALSE(settings.set("retention.ms", "-2"));
  EXPECT_FALSE(settings.set("segment.ms", "-1"));
  ASSERT_TRUE(settings.reset("retention.ms"));
  EXPECT_EQ(settings.log_settings().retention_ms, 604'800'000);
  EXPECT_FALSE(settings.reset("retention.mss"));
}

TEST(TopicSettingsTest, WithoutSettingsTheLogHasItsOwnDefaults) {
  const log::PartitionLogSettings defaults;
  const log::PartitionLogSettings settings = TopicSettings().log_settings();
  EXPECT_EQ(settings.segment_bytes, defaults.segment_bytes);
  EXPECT_EQ(settings.batch_bytes_max, defaults.batch_bytes_max);
  EXPECT_EQ(settings.log_append_time, defaults.log_append_time);
  EXPECT_EQ(settings.retention_bytes, defaults.retention_bytes);
  EXPECT_EQ(settings.retention_ms, 7LL * 24 * 3600 * 1000) << "seven days";
}

TEST(TopicSettingsTest, RefusesUnknownNamesWithTheClosestOne) {
  TopicSettings settings;
  const auto refused = settings.set("segment.byte", "1MiB");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidSetting);
  EXPECT_THAT(refused.error().message(), HasSubstr("did you mean 'segment.bytes'"));
  EXPECT_THAT(settings.values, IsEmpty());
}

TEST(TopicSettingsTest, RefusesValuesOutOfBounds) {
  TopicSettings settings;
  EXPECT_FALSE(settings.set("segment.bytes", "1000"));
  EXPECT_FALSE(settings.set("segment.bytes", "3GiB"));
  EXPECT_FALSE(settings.set("max.message.bytes", "4194305"));
  EXPECT_FALSE(settings.set("message.timestamp.type", "createtime"));
  EXPECT_FALSE(settings.set("min.insync.replicas", "0"));
  EXPECT_THAT(settings.values, IsEmpty());
}

TEST(TopicNameTest, AllowsWhatTheDocumentsAllow) {
  for (const std::string& name :
       {std::string("a"), std::string("A-b_c.9"), std::string("..."), std::string(249, 'x')}) {
    EXPECT_TRUE(check_topic_name(name)) << name;
  }
  for (const std::string& name :
       {std::string(""), std::string("."), std::string(".."), std::string("a/b"),
        std::string("a b"), std::string("ä"), std::string("a\0b", 3), std::string(250, 'x')}) {
    const auto refused = check_topic_name(name);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidTopicName);
  }
}

std::shared_ptr<const TopicView> topic(std::string name, std::uint8_t id) {
  auto view = std::make_shared<TopicView>();
  view->name = std::move(name);
  view->id.bytes[0] = id;
  return view;
}

TEST(ClusterViewTest, FindsByNameAndByIdUntilErased) {
  ClusterView view;
  view.insert(topic("orders", 1));
  view.insert(topic("users", 2));
  ASSERT_NE(view.find("orders"), nullptr);
  EXPECT_EQ(view.find(topic("", 2)->id)->name, "users");
  view.erase(topic("", 1)->id);
  EXPECT_EQ(view.find("orders"), nullptr);
  EXPECT_EQ(view.find(topic("", 1)->id), nullptr);
  view.erase(topic("", 1)->id);  // again: nothing happens
  EXPECT_EQ(view.topics().size(), 1u);
}

TEST(ClusterViewTest, ATopicMadeAgainReplacesTheOneBefore) {
  ClusterView view;
  view.insert(topic("orders", 1));
  view.insert(topic("orders", 2));
  EXPECT_EQ(view.find(topic("", 1)->id), nullptr);
  EXPECT_EQ(view.find("orders")->id.bytes[0], 2);
  view.erase(topic("", 1)->id);  // the old one must not take the new one along
  EXPECT_NE(view.find("orders"), nullptr);
}

TEST(ClusterViewTest, SuggestsTheNearestNames) {
  ClusterView view;
  for (const char* name : {"orders", "order", "payments"}) {
    view.insert(topic(name, static_cast<std::uint8_t>(view.topics().size() + 1)));
  }
  EXPECT_THAT(view.closest_names("odrers"), ElementsAre("orders", "order"));
  EXPECT_THAT(view.closest_names("orderz"), ElementsAre("order", "orders"));
  EXPECT_THAT(view.closest_names("zzz"), IsEmpty());
}

}  // namespace
}  // namespace tidelog::replication
