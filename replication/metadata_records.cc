#include "replication/metadata_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "wire/limits.h"

namespace tidelog::replication {
namespace {

using nlohmann::json;

// Far below the end of 64 bits, so that a block more always fits.
constexpr std::int64_t kProducerIdMax = std::int64_t{1} << 62;
constexpr std::string_view kStates[] = {"CREATING", "READY", "DELETED"};

// Reads the fields of one value; remembers the first thing that is wrong.
class Reader {
 public:
  Reader(std::string_view key, std::string_view value)
      : key_(key), value_(json::parse(value, nullptr, false)) {
    if (!value_.is_object()) complain("is no JSON object");
  }

  const json* field(const json& object, const char* name) {
    if (!object.is_object()) {
      complain("holds something else where an object is expected");
      return nullptr;
    }
    const auto at = object.find(name);
    if (at == object.end()) {
      complain(fmt::format("lacks '{}'", name));
      return nullptr;
    }
    return &*at;
  }

  std::string text(const json& object, const char* name) {
    const json* at = field(object, name);
    if (at == nullptr) return "";
    if (!at->is_string()) {
      complain(fmt::format("has no text in '{}'", name));
      return "";
    }
    return at->get<std::string>();
  }

  std::int32_t number(const json& object, const char* name, std::int32_t min,
                      std::int32_t max = std::numeric_limits<std::int32_t>::max()) {
    const json* at = field(object, name);
    if (at == nullptr) return min;
    if (!at->is_number_integer() || *at < min || *at > max) {
      complain(fmt::format("has no whole number from {} to {} in '{}'", min, max, name));
      return min;
    }
    return at->get<std::int32_t>();
  }

  const json& array(const json& object, const char* name) {
    static const json kEmpty = json::array();
    const json* at = field(object, name);
    if (at == nullptr) return kEmpty;
    if (!at->is_array()) {
      complain(fmt::format("has no list in '{}'", name));
      return kEmpty;
    }
    return *at;
  }

  void complain(std::string what) {
    if (problem_.empty()) problem_ = std::move(what);
  }

  const json& root() const { return value_; }

  template <typename T>
  Result<T> finish(T record) {
    if (!problem_.empty()) {
      return fail(ErrorCode::kCorruptData,
                  fmt::format("the value of metadata key {} {}", key_, problem_));
    }
    return record;
  }

 private:
  std::string_view key_;
  json value_;
  std::string problem_;
};

std::string hex64(std::uint64_t number) { return fmt::format("{:016x}", number); }

std::optional<std::uint64_t> parse_hex64(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (text.size() != 16 || error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

std::string name_key(std::string_view topic_name) {
  return fmt::format("{}{}", kNamePrefix, topic_name);
}
std::string topic_key(const TopicId& topic) {
  return fmt::format("{}{}", kTopicPrefix, topic.to_string());
}
std::string partition_key(const TopicPartition& partition) {
  return fmt::format("{}{}", kPartitionPrefix, partition.to_string());
}

std::optional<TopicId> parse_topic_key(std::string_view key) {
  if (!key.starts_with(kTopicPrefix)) return std::nullopt;
  return TopicId::parse(key.substr(kTopicPrefix.size()));
}

std::optional<TopicPartition> parse_partition_key(std::string_view key) {
  if (!key.starts_with(kPartitionPrefix)) return std::nullopt;
  const std::string_view rest = key.substr(kPartitionPrefix.size());
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::optional<TopicId> topic = TopicId::parse(rest.substr(0, slash));
  const std::string_view digits = rest.substr(slash + 1);
  std::int32_t partition = -1;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), partition);
  if (!topic || error != std::errc{} || end != digits.data() + digits.size() || partition < 0) {
    return std::nullopt;
  }
  return TopicPartition{*topic, PartitionIndex(partition)};
}

std::string encode(const NameRecord& record) {
  return json{{"topic_id", record.topic.to_string()}, {"nonce", record.nonce}}.dump();
}

std::string encode(const TopicRecord& record) {
  json settings = json::object();
  for (const auto& [name, value] : record.settings.values) settings[name] = value;
  json value{{"name", record.name},
             {"state", kStates[static_cast<std::size_t>(record.state)]},
             {"partitions", record.partitions},
             {"replication_factor", record.replication_factor},
             {"settings", std::move(settings)},
             {"nonce", record.nonce}};
  if (record.growing_to > 0) value["growing_to"] = record.growing_to;
  return value.dump();
}

std::string encode(const PartitionRecord& record) {
  json replicas = json::array();
  for (const ReplicaEntry& replica : record.replicas) {
    replicas.push_back({{"broker", replica.broker.value()}, {"id", hex64(replica.id)}});
  }
  json isr = json::array();
  for (const BrokerId member : record.isr) isr.push_back({{"broker", member.value()}});
  return json{{"replicas", std::move(replicas)},
              {"isr", std::move(isr)},
              {"leader", {{"broker", record.leader.value()}}},
              {"leader_epoch", record.leader_epoch.value()},
              {"min_isr", record.min_isr},
              {"nonce", record.nonce}}
      .dump();
}

std::string encode(const ProducerIdsRecord& record) {
  return json{{"next", record.next}, {"nonce", record.nonce}}.dump();
}

Result<NameRecord> decode_name(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  NameRecord record;
  const auto topic = TopicId::parse(reader.text(reader.root(), "topic_id"));
  if (!topic) {
    reader.complain("has no topic id in 'topic_id'");
  } else {
    record.topic = *topic;
  }
  record.nonce = reader.text(reader.root(), "nonce");
  return reader.finish(std::move(record));
}

Result<TopicRecord> decode_topic(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  TopicRecord record;
  record.name = reader.text(reader.root(), "name");
  const std::string state = reader.text(reader.root(), "state");
  const auto at = std::ranges::find(kStates, state);
  if (at == std::end(kStates)) {
    reader.complain(fmt::format("has the unknown state '{}'", state));
  } else {
    record.state = static_cast<TopicState>(at - std::begin(kStates));
  }
  record.partitions = reader.number(reader.root(), "partitions", 1, wire::kPartitionsPerTopicMax);
  if (reader.root().contains("growing_to")) {
    record.growing_to = reader.number(reader.root(), "growing_to", 1, wire::kPartitionsPerTopicMax);
  }
  record.replication_factor = reader.number(reader.root(), "replication_factor", 1);
  record.nonce = reader.text(reader.root(), "nonce");
  if (const json* settings = reader.field(reader.root(), "settings")) {
    if (!settings->is_object()) reader.complain("has no object in 'settings'");
    for (const auto& [name, setting] : settings->items()) {
      if (!setting.is_string()) {
        reader.complain(fmt::format("has no text in setting '{}'", name));
      } else if (auto set = record.settings.set(name, setting.get<std::string>()); !set) {
        reader.complain(fmt::format("has a bad setting: {}", set.error().message()));
      }
    }
  }
  return reader.finish(std::move(record));
}

Result<PartitionRecord> decode_partition(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  PartitionRecord record;
  for (const json& entry : reader.array(reader.root(), "replicas")) {
    const auto id = parse_hex64(reader.text(entry, "id"));
    if (!id) reader.complain("has a replica without 16 hex digits in 'id'");
    record.replicas.push_back({BrokerId(reader.number(entry, "broker", 0)), id.value_or(0)});
  }
  for (const json& entry : reader.array(reader.root(), "isr")) {
    record.isr.emplace_back(reader.number(entry, "broker", 0));
  }
  if (record.replicas.empty()) reader.complain("names no replica");
  if (record.isr.empty()) reader.complain("names no in-sync replica");
  if (const json* leader = reader.field(reader.root(), "leader")) {
    record.leader = BrokerId(reader.number(*leader, "broker", 0));
  }
  record.leader_epoch = LeaderEpoch(reader.number(reader.root(), "leader_epoch", 0));
  record.min_isr = reader.number(reader.root(), "min_isr", 1);
  record.nonce = reader.text(reader.root(), "nonce");
  return reader.finish(std::move(record));
}

Result<ProducerIdsRecord> decode_producer_ids(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  ProducerIdsRecord record;
  if (const json* next = reader.field(reader.root(), "next")) {
    if (!next->is_number_integer() || *next < 0 || *next > kProducerIdMax) {
      reader.complain("has no producer id in 'next'");
    } else {
      record.next = next->get<std::int64_t>();
    }
  }
  record.nonce = reader.text(reader.root(), "nonce");
  return reader.finish(std::move(record));
}

std::string nonce_of(std::string_view value) {
  const json parsed = json::parse(value, nullptr, false);
  if (!parsed.is_object()) return "";
  const auto at = parsed.find("nonce");
  return at != parsed.end() && at->is_string() ? at->get<std::string>() : "";
}

}  // namespace tidelog::replication
