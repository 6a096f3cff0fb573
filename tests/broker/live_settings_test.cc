#include "broker/live_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidelog::broker {
namespace {

using testing::HasSubstr;

class LiveSettingsTest : public testing::Test {
 protected:
  SettingValue value(std::string_view name) const {
    for (SettingValue& value : live_.values()) {
      if (value.info->name == name) return value;
    }
    ADD_FAILURE() << name;
    return {};
  }

  int applied_ = 0;
  BrokerSettings now_;
  LiveSettings live_{*load_broker_settings({.flags = {{"shards", "2"}, {"log.level", "error"}},
                                            .environment = {{"TIDELOG_BROKER_ID", "5"}}}),
                     [this](const BrokerSettings& settings) {
                       ++applied_;
                       now_ = settings;
                     }};
};

TEST_F(LiveSettingsTest, TellsEachValueAndWhereItCameFrom) {
  EXPECT_EQ(live_.values().size(), setting_table().size());
  EXPECT_EQ(value("shards").value, "2");
  EXPECT_EQ(value("shards").origin, SettingOrigin::kFlag);
  EXPECT_EQ(value("broker.id").value, "5");
  EXPECT_EQ(value("broker.id").origin, SettingOrigin::kEnvironment);
  EXPECT_EQ(value("data.dir").value, "./tidelog-data");
  EXPECT_EQ(value("data.dir").origin, SettingOrigin::kDefault);
}

TEST_F(LiveSettingsTest, ChangesWhatMayChangeAndTellsItOnce) {
  ASSERT_TRUE(live_.change({{"log.level", "warning"}, {"default.partitions", "3"}}, "a person"));
  EXPECT_EQ(applied_, 1);
  EXPECT_EQ(now_.log_level, LogLevel::kWarning);
  EXPECT_EQ(now_.default_partitions, 3);
  EXPECT_EQ(value("log.level").value, "warning");
  EXPECT_EQ(value("log.level").origin, SettingOrigin::kLive);
  EXPECT_EQ(value("shards").origin, SettingOrigin::kFlag);
}

TEST_F(LiveSettingsTest, ChangesNothingWhenOneOfTheChangesIsRefused) {
  for (const auto& [name, told] : LiveSettings::Changes{
           {"shards",
            "shards cannot change while the broker runs: set it in the settings file, by "
            "TIDELOG_SHARDS or by --set, and restart the broker"},
           {"log.levle", "did you mean 'log.level'"},
           {"default.partitions", "default.partitions must be"}}) {
    const Result<> changed = live_.change({{"log.level", "debug"}, {name, "0"}}, "a person");
    ASSERT_FALSE(changed) << name;
    EXPECT_EQ(changed.error().code(), ErrorCode::kInvalidSetting);
    EXPECT_THAT(changed.error().message(), HasSubstr(told));
    EXPECT_EQ(value("log.level").value, "error");
  }
  EXPECT_EQ(applied_, 0);
}

}  // namespace
}  // namespace tidelog::broker
