#include "broker/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace tidelog::broker {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    std::string name = testing::TempDir() + "/tidelog-settings-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
  }
  ~SettingsTest() override { std::filesystem::remove_all(directory_); }

  std::string file(const std::string& text) {
    const std::string path = directory_ + "/broker.toml";
    std::ofstream(path) << text;
    return path;
  }
  static std::string message(const Result<BrokerSettings>& result) {
    EXPECT_FALSE(result.has_value());
    if (result) return "";
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidSetting);
    return result.error().message();
  }
  // What a file of this text is refused with, without its directory.
  std::string file_refusal(const std::string& text) {
    const std::string path = file(text);
    std::string refusal = message(load_broker_settings({.file = path}));
    EXPECT_THAT(refusal, StartsWith(path));
    return refusal.substr(directory_.size() + 1);
  }

  std::string directory_;
};

TEST_F(SettingsTest, EveryDefaultOfTheTableIsTheDefaultOfItsField) {
  const BrokerSettings defaults;
  for (const SettingInfo& info : setting_table()) {
    EXPECT_EQ(info.get(defaults), info.default_value) << info.name;
    if (info.default_value.empty()) continue;
    BrokerSettings settings;
    ASSERT_TRUE(info.set(settings, info.name, info.default_value)) << info.name;
    for (const SettingInfo& other : setting_table()) {
      EXPECT_EQ(other.get(settings), other.get(defaults)) << info.name << " sets " << other.name;
    }
  }
}

TEST_F(SettingsTest, EverySettingReachesItsField) {
  SettingSources sources;
  sources.flags = {{"data.dir", "/srv/t"},
                   {"broker.id", "7"},
                   {"listen", "0.0.0.0:1"},
                   {"advertised.listen", "[::1]:2"},
                   {"admin.listen", "off"},
                   {"shards", "3"},
                   {"storage.io", "threads"},
                   {"storage.allow.network.filesystem", "true"},
                   {"storage.free.bytes.min", "36MiB"},
                   {"log.level", "debug"},
                   {"log.format", "json"},
                   {"default.partitions", "4"},
                   {"produce.memory.bytes", "32MiB"},
                   {"fetch.memory.bytes", "33MiB"},
                   {"tail.cache.bytes", "34MiB"},
                   {"journal.bytes.max", "35MiB"},
                   {"control.memory.bytes", "36MiB"},
                   {"connections.max", "37"},
                   {"connections.per.address.max", "38"},
                   {"quota.in.bytes", "39MiB"},
                   {"quota.out.bytes", "40MiB"}};
  std::set<std::string> tested;
  for (const FlagSetting& given : sources.flags) tested.insert(given.name);
  EXPECT_EQ(tested.size(), setting_table().size()) << "a setting of the table is not tested here";
  const auto settings = load_broker_settings(sources);
  ASSERT_TRUE(settings) << settings.error().message();
  EXPECT_EQ(settings->data_dir, "/srv/t");
  EXPECT_EQ(settings->broker_id, BrokerId(7));
  EXPECT_EQ(settings->listen, (HostPort{"0.0.0.0", 1}));
  EXPECT_EQ(settings->advertised_listen, (HostPort{"::1", 2}));
  EXPECT_EQ(settings->admin_listen, std::nullopt);
  EXPECT_EQ(settings->shards, 3);
  EXPECT_EQ(settings->storage_io, StorageIo::kThreads);
  EXPECT_TRUE(settings->storage_allow_network_filesystem);
  EXPECT_EQ(settings->free_bytes_min, 36U << 20);
  EXPECT_EQ(settings->log_level, LogLevel::kDebug);
  EXPECT_EQ(settings->log_format, LogFormat::kJson);
  EXPECT_EQ(settings->default_partitions, 4);
  EXPECT_EQ(settings->produce_memory_bytes, 32u << 20);
  EXPECT_EQ(settings->fetch_memory_bytes, 33u << 20);
  EXPECT_EQ(settings->tail_cache_bytes, 34u << 20);
  EXPECT_EQ(settings->journal_bytes_max, 35u << 20);
  EXPECT_EQ(settings->control_memory_bytes, 36u << 20);
  EXPECT_EQ(settings->connections_max, 37u);
  EXPECT_EQ(settings->connections_per_address_max, 38u);
  EXPECT_EQ(settings->quota_in_bytes, 39u << 20);
  EXPECT_EQ(settings->quota_out_bytes, 40u << 20);
}

// Tables and values of one file must not stand in each other's way.
TEST_F(SettingsTest, AFileMayNameEverySetting) {
  BrokerSettings defaults;
  std::string file;
  std::size_t written = 0;
  for (const SettingInfo& info : setting_table()) {
    std::string value = info.get(defaults);
    if (value.empty()) value = "127.0.0.1:1";
    file += std::string(info.name) + " = \"" + value + "\"\n";
    ++written;
  }
  const std::string path = directory_ + "/every.toml";
  std::ofstream(path) << file;
  const auto settings = load_broker_settings({.file = path});
  ASSERT_TRUE(settings) << settings.error().message();
  EXPECT_EQ(settings->origins.size(), written);
}

TEST_F(SettingsTest, EveryValueCanBeReadBackAsItWasWritten) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"data.dir", "/srv/t"},
                                                        {"advertised.listen", "[::1]:2"},
                                                        {"admin.listen", "off"},
                                                        {"shards", "3"},
                                                        {"storage.io", "threads"},
                                                        {"log.level", "off"},
                                                        {"log.format", "json"},
                                                        {"produce.memory.bytes", "33554432"}}) {
    const auto settings = load_broker_settings({.flags = {{name, value}}});
    ASSERT_TRUE(settings) << settings.error().message();
    const auto info = std::ranges::find(setting_table(), name, &SettingInfo::name);
    EXPECT_EQ(info->get(*settings), value);
  }
}

TEST_F(SettingsTest, AFlagBeatsTheEnvironmentBeatsTheFile) {
  SettingSources sources;
  sources.file = file("shards = 1\n[broker]\nid = 1\n[data]\ndir = \"from file\"\n");
  sources.environment = {{"TIDELOG_SHARDS", "2"}, {"TIDELOG_BROKER_ID", "2"}, {"HOME", "/"}};
  sources.flags = {{"shards", "3"}};
  const auto settings = load_broker_settings(sources);
  ASSERT_TRUE(settings) << settings.error().message();
  EXPECT_EQ(settings->shards, 3);
  EXPECT_EQ(settings->broker_id, BrokerId(2));
  EXPECT_EQ(settings->data_dir, "from file");
  EXPECT_EQ(settings->default_partitions, 1);
}

TEST_F(SettingsTest, AFileMayUseTablesAndDottedKeysAlike) {
  for (const char* text : {"data.dir = 'x'\nstorage.allow.network.filesystem = true\n",
                           "[data]\ndir = 'x'\n[storage.allow.network]\nfilesystem = true\n"}) {
    const auto settings = load_broker_settings({.file = file(text)});
    ASSERT_TRUE(settings) << settings.error().message();
    EXPECT_EQ(settings->data_dir, "x");
    EXPECT_TRUE(settings->storage_allow_network_filesystem);
  }
}

TEST_F(SettingsTest, RefusesUnknownNamesWhereTheyStandWithTheClosest) {
  EXPECT_EQ(file_refusal("shards = 1\n\n[data]\ndri = 'x'\n"),
            "broker.toml:4: there is no setting 'data.dri'; did you mean 'data.dir'?");
  EXPECT_EQ(message(load_broker_settings({.flags = {{"shard", "1"}}})),
            "--set shard: there is no setting 'shard'; did you mean 'shards'?");
  EXPECT_EQ(message(load_broker_settings({.flags = {{"colour", "red"}}})),
            "--set colour: there is no setting 'colour'");
  EXPECT_EQ(message(load_broker_settings({.environment = {{"TIDELOG_DATADIR", "x"}}})),
            "environment variable TIDELOG_DATADIR is no setting; did you mean TIDELOG_DATA_DIR?");
}

TEST_F(SettingsTest, LeavesVariablesOfOtherCommandsAlone) {
  EXPECT_TRUE(load_broker_settings(
      {.environment = {{"TIDELOG_BROKERS", "a:1"}, {"TIDELOG_TOPIC", "t"}, {"SHARDS", "x"}}}));
}

TEST_F(SettingsTest, RefusesBadValuesWhereTheyStand) {
  EXPECT_THAT(file_refusal("\nshards = -1\n"),
              AllOf(StartsWith("broker.toml:2: shards must be"), HasSubstr("'-1'")));
  EXPECT_THAT(file_refusal("shards = 1.5\n"), StartsWith("broker.toml:1: the value of 'shards'"));
  EXPECT_THAT(file_refusal("shards = [1]\n"), StartsWith("broker.toml:1: the value of 'shards'"));
  EXPECT_THAT(file_refusal("shards = 1\nshards = 2\n"), StartsWith("broker.toml:2: "));
  EXPECT_THAT(file_refusal("shards = 1\nlisten = \n"), StartsWith("broker.toml:2: "));
  EXPECT_THAT(message(load_broker_settings({.environment = {{"TIDELOG_STORAGE_IO", "uring"}}})),
              StartsWith("TIDELOG_STORAGE_IO: storage.io must be one of auto, ring, threads"));
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"data.dir", ""},
                                                        {"broker.id", "-1"},
                                                        {"broker.id", "2147483648"},
                                                        {"shards", "257"},
                                                        {"default.partitions", "0"},
                                                        {"default.partitions", "10001"},
                                                        {"log.level", "loud"},
                                                        {"storage.allow.network.filesystem", "yes"},
                                                        {"produce.memory.bytes", "1MiB"},
                                                        {"journal.bytes.max", "33554431"},
                                                        {"listen", "9700"},
                                                        {"listen", "off"}}) {
    EXPECT_THAT(message(load_broker_settings({.flags = {{name, value}}})),
                StartsWith("--set " + name + ": "))
        << name << "=" << value;
  }
}

TEST_F(SettingsTest, SaysWhichFileCannotBeRead) {
  const auto missing = load_broker_settings({.file = directory_ + "/none.toml"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("none.toml"));
  EXPECT_FALSE(load_broker_settings({.file = directory_}));
}

TEST(HostPortTest, ReadsAndWritesAddresses) {
  for (const char* text : {"127.0.0.1:9700", "localhost:0", "[::1]:65535", "broker-1.example:1"}) {
    const auto address = parse_host_port(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
  for (const char* text : {"", ":1", "host", "host:", "host:x", "host:65536", "host:-1", "::1:9700",
                           "[]:1", "host:1 "}) {
    EXPECT_FALSE(parse_host_port(text)) << text;
  }
}

TEST(SettingTableTest, NamesItsEnvironmentVariables) {
  EXPECT_EQ(environment_name("data.dir"), "TIDELOG_DATA_DIR");
  EXPECT_EQ(environment_name("storage.allow.network.filesystem"),
            "TIDELOG_STORAGE_ALLOW_NETWORK_FILESYSTEM");
}

TEST(SettingTableTest, PrintsEverySettingAsTextAndAsJson) {
  const std::string text = setting_table_text();
  const auto json = nlohmann::json::parse(setting_table_json());
  ASSERT_EQ(json.size(), setting_table().size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    const SettingInfo& info = setting_table()[i];
    EXPECT_THAT(text, HasSubstr(std::string(info.name) + "\n"));
    EXPECT_EQ(json[i]["name"], info.name);
    EXPECT_EQ(json[i]["default"], info.default_value);
    EXPECT_EQ(json[i]["environment"], environment_name(info.name));
    EXPECT_EQ(json[i]["live"], info.change == SettingChange::kLive);
    EXPECT_FALSE(info.meaning.empty());
  }
}

TEST(ProcessEnvironmentTest, HoldsTheProcessesVariables) {
  ASSERT_EQ(setenv("TIDELOG_TEST_OF_ENVIRONMENT", "a=b", 1), 0);
  EXPECT_THAT(process_environment(),
              testing::Contains(testing::Pair("TIDELOG_TEST_OF_ENVIRONMENT", "a=b")));
  unsetenv("TIDELOG_TEST_OF_ENVIRONMENT");
}

}  // namespace
}  // namespace tidelog::broker
