#include "broker/settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "broker/settings_file.h"
#include "replication/setting_value.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

using replication::parse_boolean;
using replication::parse_byte_size;
using replication::parse_choice;
using replication::parse_integer;

constexpr std::string_view kIoChoices[] = {"auto", "ring", "threads"};
constexpr std::string_view kLogFormats[] = {"text", "json"};
constexpr std::string_view kLogLevels[] = {"debug", "info", "warning", "error", "off"};
constexpr std::string_view kOff = "off";
constexpr std::string_view kEnvironmentPrefix = "TIDELOG_";

constexpr std::int64_t kMemoryBytesMin = 16 << 20;
constexpr std::int64_t kMemoryBytesMax = 1LL << 42;
constexpr std::int64_t kJournalBytesMin = 32
                                          << 20;  // smaller ones hold no batch of the largest size
constexpr std::int64_t kJournalBytesMax = 16LL << 30;
constexpr std::int64_t kFreeBytesMax = 1LL << 50;
constexpr std::int64_t kShardsMax = 256;
constexpr std::int64_t kConnectionsMax = 10'000'000;
constexpr std::int64_t kQuotaBytesMin = 64 << 10;

// A setter of a budget in bytes.
template <auto kField>
Result<> set_memory(BrokerSettings& settings, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t bytes,
                 parse_byte_size(name, value, kMemoryBytesMin, kMemoryBytesMax));
  settings.*kField = static_cast<std::size_t>(bytes);
  return {};
}

Result<> set_admin_listen(BrokerSettings& s, std::string_view name, std::string_view value) {
  if (value == kOff) {
    s.admin_listen.reset();
    return {};
  }
  auto address = parse_host_port(value);
  if (!address) return fail(address.error().with_context(name));
  s.admin_listen = std::move(*address);
  return {};
}

Result<> set_advertised_listen(BrokerSettings& s, std::string_view name, std::string_view value) {
  auto address = parse_host_port(value);
  if (!address) return fail(address.error().with_context(name));
  s.advertised_listen = std::move(*address);
  return {};
}

Result<> set_broker_id(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t id,
                 parse_integer(name, value, 0, std::numeric_limits<std::int32_t>::max()));
  s.broker_id = BrokerId(static_cast<std::int32_t>(id));
  return {};
}

template <std::size_t BrokerSettings::* kField>
Result<> set_connections(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t count, parse_integer(name, value, 0, kConnectionsMax));
  s.*kField = static_cast<std::size_t>(count);
  return {};
}

template <std::uint64_t BrokerSettings::* kField>
Result<> set_quota(BrokerSettings& s, std::string_view name, std::string_view value) {
  if (value == "0") {
    s.*kField = 0;
    return {};
  }
  // A frame of the largest size must pass within minutes.
  TIDELOG_ASSIGN(const std::int64_t bytes,
                 parse_byte_size(name, value, kQuotaBytesMin, std::int64_t{1} << 50));
  s.*kField = static_cast<std::uint64_t>(bytes);
  return {};
}

Result<> set_data_dir(BrokerSettings& s, std::string_view name, std::string_view value) {
  if (value.empty() || value.find('\0') != std::string_view::npos) {
    return fail(ErrorCode::kInvalidSetting, fmt::format("{} must name a directory", name));
  }
  s.data_dir = value;
  return {};
}

Result<> set_default_partitions(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t count,
                 parse_integer(name, value, 1, wire::kPartitionsPerTopicMax));
  s.default_partitions = static_cast<std::int32_t>(count);
  return {};
}

Result<> set_journal_bytes(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t bytes,
                 parse_byte_size(name, value, kJournalBytesMin, kJournalBytesMax));
  s.journal_bytes_max = static_cast<std::uint64_t>(bytes);
  return {};
}

Result<> set_listen(BrokerSettings& s, std::string_view name, std::string_view value) {
  auto address = parse_host_port(value);
  if (!address) return fail(address.error().with_context(name));
  s.listen = std::move(*address);
  return {};
}

Result<> set_log_level(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::size_t level, parse_choice(name, value, kLogLevels));
  s.log_level = static_cast<LogLevel>(level);
  return {};
}

Result<> set_log_format(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::size_t format, parse_choice(name, value, kLogFormats));
  s.log_format = static_cast<LogFormat>(format);
  return {};
}

Result<> set_shards(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t shards, parse_integer(name, value, 0, kShardsMax));
  s.shards = static_cast<int>(shards);
  return {};
}

Result<> set_allow_network(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(s.storage_allow_network_filesystem, parse_boolean(name, value));
  return {};
}

Result<> set_free_bytes_min(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::int64_t bytes, parse_byte_size(name, value, 0, kFreeBytesMax));
  s.free_bytes_min = static_cast<std::uint64_t>(bytes);
  return {};
}

Result<> set_storage_io(BrokerSettings& s, std::string_view name, std::string_view value) {
  TIDELOG_ASSIGN(const std::size_t io, parse_choice(name, value, kIoChoices));
  s.storage_io = static_cast<StorageIo>(io);
  return {};
}

// Getters, by the kind of field.
template <auto kField>
std::string number(const BrokerSettings& settings) {
  return std::to_string(settings.*kField);
}
template <auto kField>
std::string address(const BrokerSettings& settings) {
  return (settings.*kField).to_string();
}
template <auto kField, const auto& kChoices>
std::string choice(const BrokerSettings& settings) {
  return std::string(kChoices[static_cast<std::size_t>(settings.*kField)]);
}
template <auto kField>
std::string boolean(const BrokerSettings& settings) {
  return settings.*kField ? "true" : "false";
}

constexpr auto kTable = std::to_array<SettingInfo>({
    {"admin.listen", "address", "127.0.0.1:9701",
     "where /health, /ready, /version and /metrics answer; off: nowhere", set_admin_listen,
     [](const BrokerSettings& s) {
       return s.admin_listen ? s.admin_listen->to_string() : std::string(kOff);
     }},
    {"advertised.listen", "address", "",
     "what clients are told to connect to; default: the address by which each came",
     set_advertised_listen,
     [](const BrokerSettings& s) {
       return s.advertised_listen ? s.advertised_listen->to_string() : std::string();
     }},
    {"broker.id", "int", "0", "number of this broker in its cluster", set_broker_id,
     [](const BrokerSettings& s) { return std::to_string(s.broker_id.value()); }},
    {"connections.max", "int", "20000", "connections of clients at once; 0: no limit",
     set_connections<&BrokerSettings::connections_max>, number<&BrokerSettings::connections_max>},
    {"connections.per.address.max", "int", "0",
     "connections at once that one IP address may hold, all programs that share it together; a "
     "client takes one for each shard and one more; 0: no limit",
     set_connections<&BrokerSettings::connections_per_address_max>,
     number<&BrokerSettings::connections_per_address_max>},
    {"control.memory.bytes", "bytes", "67108864",
     "memory for large requests beside produce and, up to half of it, for what fetch sessions "
     "remember, of the whole broker",
     set_memory<&BrokerSettings::control_memory_bytes>,
     number<&BrokerSettings::control_memory_bytes>},
    {"data.dir", "path", "./tidelog-data", "directory of all data; made where it is missing",
     set_data_dir, [](const BrokerSettings& s) { return s.data_dir; }},
    {"default.partitions", "int", "1", "partitions of a topic whose creator names no number",
     set_default_partitions, number<&BrokerSettings::default_partitions>, SettingChange::kLive},
    {"fetch.memory.bytes", "bytes", "268435456",
     "memory for answers on their way to consumers, of the whole broker",
     set_memory<&BrokerSettings::fetch_memory_bytes>, number<&BrokerSettings::fetch_memory_bytes>},
    {"journal.bytes.max", "bytes", "134217728", "size up to which the journal of a shard grows",
     set_journal_bytes, number<&BrokerSettings::journal_bytes_max>},
    {"listen", "address", "127.0.0.1:9700", "where clients connect", set_listen,
     address<&BrokerSettings::listen>},
    {"log.format", "enum(text|json)", "text",
     "how lines are written to stderr: for people, or one JSON object a line", set_log_format,
     choice<&BrokerSettings::log_format, kLogFormats>},
    {"log.level", "enum(debug|info|warning|error|off)", "info",
     "least important lines written to stderr", set_log_level,
     choice<&BrokerSettings::log_level, kLogLevels>, SettingChange::kLive},
    {"produce.memory.bytes", "bytes", "268435456",
     "memory for records received and not yet stable, of the whole broker",
     set_memory<&BrokerSettings::produce_memory_bytes>,
     number<&BrokerSettings::produce_memory_bytes>},
    {"quota.in.bytes", "bytes", "0",
     "records a second that each client may produce, in bytes, by the name it gives itself; more "
     "is delayed; 0: no limit",
     set_quota<&BrokerSettings::quota_in_bytes>, number<&BrokerSettings::quota_in_bytes>,
     SettingChange::kLive},
    {"quota.out.bytes", "bytes", "0",
     "records a second that each client may fetch, in bytes, by the name it gives itself; more is "
     "delayed; 0: no limit",
     set_quota<&BrokerSettings::quota_out_bytes>, number<&BrokerSettings::quota_out_bytes>,
     SettingChange::kLive},
    {"shards", "int", "0", "threads that serve; 0: one per usable core", set_shards,
     number<&BrokerSettings::shards>},
    {"storage.allow.network.filesystem", "boolean", "false",
     "accept a data directory on NFS or SMB, which lose data in ways a broker cannot see",
     set_allow_network, boolean<&BrokerSettings::storage_allow_network_filesystem>},
    {"storage.free.bytes.min", "bytes", "1073741824",
     "free space of the disk below which records are refused; never less than 2 % of the disk",
     set_free_bytes_min, number<&BrokerSettings::free_bytes_min>},
    {"storage.io", "enum(auto|ring|threads)", "auto",
     "how files are written: io_uring, threads, or whichever works", set_storage_io,
     choice<&BrokerSettings::storage_io, kIoChoices>},
    {"tail.cache.bytes", "bytes", "536870912",
     "memory for the newest records of all logs, of the whole broker",
     set_memory<&BrokerSettings::tail_cache_bytes>, number<&BrokerSettings::tail_cache_bytes>},
});
static_assert(std::ranges::is_sorted(kTable, {}, &SettingInfo::name));

// In a file a name is a value or a table of names, not both.
consteval bool no_name_begins_another() {
  for (const SettingInfo& table : kTable) {
    for (const SettingInfo& info : kTable) {
      if (info.name.size() > table.name.size() && info.name.starts_with(table.name) &&
          info.name[table.name.size()] == '.') {
        return false;
      }
    }
  }
  return true;
}
static_assert(no_name_begins_another());

std::string unknown_name(std::string_view name) {
  std::array<std::string_view, kTable.size()> names;
  std::ranges::transform(kTable, names.begin(), &SettingInfo::name);
  return fmt::format("there is no setting '{}'{}", name,
                     replication::did_you_mean(replication::closest_names(name, names, 2)));
}

Result<> apply_environment(BrokerSettings& settings,
                           std::span<const std::pair<std::string, std::string>> environment) {
  std::vector<std::string> names;
  names.reserve(kTable.size());
  for (const SettingInfo& info : kTable) names.push_back(environment_name(info.name));
  const std::vector<std::string_view> known(names.begin(), names.end());
  for (const auto& [variable, value] : environment) {
    if (!variable.starts_with(kEnvironmentPrefix)) continue;
    const auto at = std::ranges::find(names, variable);
    if (at != names.end()) {
      const SettingInfo& info = kTable[static_cast<std::size_t>(at - names.begin())];
      if (auto set = info.set(settings, info.name, value); !set) {
        return fail(set.error().with_context(variable));
      }
      settings.origins[std::string(info.name)] = SettingOrigin::kEnvironment;
      continue;
    }
    // One or two letters beside a setting is a slip; anything further is somebody else's variable.
    for (const std::string_view name : known) {
      if (replication::edit_distance(variable, name) > 2) continue;
      return fail(
          ErrorCode::kInvalidSetting,
          fmt::format("environment variable {} is no setting; did you mean {}?", variable, name));
    }
  }
  return {};
}

}  // namespace

std::string HostPort::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto refuse = [text] {
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("'{}' is no address; write HOST:PORT, such as 127.0.0.1:9700", text));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return refuse();
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return refuse();
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  // An IPv6 address needs its brackets: without them nobody knows where the port begins.
  if (host.empty() || (!bracketed && host.find(':') != std::string_view::npos)) return refuse();
  return HostPort{std::string(host), port};
}

std::string_view to_string(SettingOrigin origin) {
  switch (origin) {
    case SettingOrigin::kDefault:
      return "default";
    case SettingOrigin::kFile:
      return "file";
    case SettingOrigin::kEnvironment:
      return "environment";
    case SettingOrigin::kFlag:
      return "flag";
    case SettingOrigin::kLive:
      return "live";
  }
  return "default";
}

std::span<const SettingInfo> setting_table() { return kTable; }

Result<> set_broker_setting(BrokerSettings& settings, std::string_view name,
                            std::string_view value) {
  const auto info = std::ranges::find(kTable, name, &SettingInfo::name);
  if (info == kTable.end()) return fail(ErrorCode::kInvalidSetting, unknown_name(name));
  return info->set(settings, info->name, value);
}

std::string environment_name(std::string_view setting) {
  std::string name(kEnvironmentPrefix);
  for (const char c : setting) {
    name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return name;
}

std::vector<std::pair<std::string, std::string>> process_environment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view variable(*at);
    const std::size_t equals = variable.find('=');
    if (equals == std::string_view::npos) continue;
    variables.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
  }
  return variables;
}

namespace {

// For a sentence that names the setting already.
Error without_name(const Error& error, std::string_view name) {
  std::string_view message = error.message();
  if (message.starts_with(name) && message.substr(name.size()).starts_with(": ")) {
    message.remove_prefix(name.size() + 2);
  }
  return {error.code(), std::string(message)};
}

}  // namespace

Result<BrokerSettings> load_broker_settings(const SettingSources& sources) {
  BrokerSettings settings;
  if (!sources.file.empty()) {
    TIDELOG_ASSIGN(const auto entries, read_settings_file(sources.file));
    for (const FileSetting& entry : entries) {
      if (auto set = set_broker_setting(settings, entry.name, entry.value); !set) {
        return fail(set.error().with_context(fmt::format("{}:{}", sources.file, entry.line)));
      }
      settings.origins[entry.name] = SettingOrigin::kFile;
    }
  }
  TIDELOG_TRY(apply_environment(settings, sources.environment));
  for (const FlagSetting& given : sources.flags) {
    if (auto set = set_broker_setting(settings, given.name, given.value); !set) {
      return fail(without_name(set.error(), given.name)
                      .with_context(given.flag.empty() ? "--set " + given.name : given.flag));
    }
    settings.origins[given.name] = SettingOrigin::kFlag;
  }
  return settings;
}

std::string setting_table_text() {
  std::string text;
  for (const SettingInfo& info : kTable) {
    text += fmt::format("{}\n    {}, default {}{}\n    {}\n", info.name, info.type,
                        info.default_value.empty() ? "none" : info.default_value,
                        info.change == SettingChange::kLive ? ", can be changed live" : "",
                        info.meaning);
  }
  return text;
}

std::string setting_table_json() {
  nlohmann::ordered_json table = nlohmann::ordered_json::array();
  for (const SettingInfo& info : kTable) {
    table.push_back({{"name", info.name},
                     {"type", info.type},
                     {"default", info.default_value},
                     {"environment", environment_name(info.name)},
                     {"live", info.change == SettingChange::kLive},
                     {"meaning", info.meaning}});
  }
  return table.dump(2);
}

}  // namespace tidelog::broker
