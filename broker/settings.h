// The settings of a broker: one table of names, types, defaults and meanings, read from flags,
// environment and a TOML file.
//
// A flag beats TIDELOG_<SETTING> (upper case, dots as underscores) beats the file beats the
// default. Names that nobody knows are refused, with the place where they stand and the closest
// name. docs/configuration.md is written from the same table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/logging.h"
#include "base/result.h"

namespace tidelog::broker {

// An address to listen on or to be reached at.
struct HostPort {
  std::string host;  // name or address, IPv6 without its brackets
  std::uint16_t port = 0;

  bool operator==(const HostPort&) const = default;
  // "HOST:PORT", with brackets around an IPv6 address.
  std::string to_string() const;
};
// Reads "HOST:PORT" or "[IPV6]:PORT"; port 0 is allowed. Fails with kInvalidSetting.
Result<HostPort> parse_host_port(std::string_view text);

enum class StorageIo : std::uint8_t {
  kAuto,     // io_uring where the probe finds that it works, else threads
  kRing,     // io_uring, or no start
  kThreads,  // pread and pwrite on threads
};

// Where the value of a setting comes from.
enum class SettingOrigin : std::uint8_t { kDefault, kFile, kEnvironment, kFlag, kLive };
// "default", "file", "environment", "flag", "live".
std::string_view to_string(SettingOrigin origin);

// Each field is one setting; setting_table() has the names and meanings.
struct BrokerSettings {
  std::string data_dir = "./tidelog-data";
  BrokerId broker_id{0};
  HostPort listen{"127.0.0.1", 9700};
  std::optional<HostPort> advertised_listen;
  std::optional<HostPort> admin_listen = HostPort{"127.0.0.1", 9701};  // nullopt: off
  int shards = 0;                                                      // 0: one per usable core
  StorageIo storage_io = StorageIo::kAuto;
  bool storage_allow_network_filesystem = false;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  std::int32_t default_partitions = 1;
  // Of the whole broker: each shard gets its share.
  std::size_t produce_memory_bytes = 256ULL << 20;
  std::size_t fetch_memory_bytes = 256ULL << 20;
  std::size_t control_memory_bytes = 64ULL << 20;
  std::size_t tail_cache_bytes = 512ULL << 20;
  // 0: no limit.
  std::size_t connections_max = 20'000;
  std::size_t connections_per_address_max = 0;
  // Bytes a second of each client, 0: no limit.
  std::uint64_t quota_in_bytes = 0;
  std::uint64_t quota_out_bytes = 0;
  // Of the disk: below it records are refused.
  std::uint64_t free_bytes_min = 1ULL << 30;
  // Of each shard.
  std::uint64_t journal_bytes_max = 128ULL << 20;

  // By name; what is not here has its default.
  std::map<std::string, SettingOrigin, std::less<>> origins{};
};

// Whether a running broker takes another value.
enum class SettingChange : std::uint8_t { kRestart, kLive };

struct SettingInfo {
  std::string_view name;
  std::string_view type;
  std::string_view default_value;
  std::string_view meaning;
  // Checks `value` and puts it into its field. Fails with kInvalidSetting.
  Result<> (*set)(BrokerSettings& settings, std::string_view name, std::string_view value);
  // The field's value, as `set` would take it; empty for an address that was not set.
  std::string (*get)(const BrokerSettings& settings);
  SettingChange change = SettingChange::kRestart;
};
// Sorted by name.
std::span<const SettingInfo> setting_table();

// Sets one setting by name. Fails with kInvalidSetting: an unknown name (with the closest one) or a
// bad value.
Result<> set_broker_setting(BrokerSettings& settings, std::string_view name,
                            std::string_view value);

// "TIDELOG_DATA_DIR" for "data.dir".
std::string environment_name(std::string_view setting);

struct FlagSetting {
  std::string name;
  std::string value;
  std::string flag{};  // as it was written; empty: --set NAME
};

struct SettingSources {
  std::vector<FlagSetting> flags{};  // later ones win
  std::vector<std::pair<std::string, std::string>> environment{};
  std::string file{};  // TOML; empty: none
};
// The process's environment, as SettingSources wants it.
std::vector<std::pair<std::string, std::string>> process_environment();

// Reads all sources. A variable TIDELOG_... that is nearly the name of a setting is refused as a
// misspelling; others belong to other commands. Reads the file; blocks. Fails with kInvalidSetting,
// kNotFound (the file); messages begin with "--set NAME" or the flag, the variable, or "FILE:LINE".
Result<BrokerSettings> load_broker_settings(const SettingSources& sources);

// The table for people, and for programs: an array of {name, type, default, environment, live,
// meaning}.
std::string setting_table_text();
std::string setting_table_json();

}  // namespace tidelog::broker
