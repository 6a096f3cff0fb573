// The settings of topics: one table of names, defaults and bounds.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.h"
#include "replication/cluster_view.h"
#include "replication/setting_value.h"
#include "wire/limits.h"

namespace tidelog::replication {
namespace {

constexpr std::string_view kDurability = "durability";
constexpr std::string_view kMaxMessageBytes = "max.message.bytes";
constexpr std::string_view kTimestampType = "message.timestamp.type";
constexpr std::string_view kMinInsyncReplicas = "min.insync.replicas";
constexpr std::string_view kRetentionBytes = "retention.bytes";
constexpr std::string_view kRetentionMs = "retention.ms";
constexpr std::string_view kSegmentBytes = "segment.bytes";
constexpr std::string_view kSegmentMs = "segment.ms";

constexpr std::string_view kDurabilities[] = {"durable", "memory"};
constexpr std::string_view kTimestampTypes[] = {"CreateTime", "LogAppendTime"};

constexpr std::int64_t kMessageBytesMin = 1024;
constexpr std::int64_t kSegmentBytesMin = 64 << 10;
constexpr std::int64_t kSegmentBytesMax = 1LL << 31;
constexpr std::int64_t kReplicasMax = 127;
constexpr std::int64_t kMsMax = std::int64_t{100} * 365 * 24 * 3600 * 1000;
constexpr std::int64_t kRetentionBytesMax = std::int64_t{1} << 60;
constexpr std::int64_t kSegmentMsMin = 1000;

constexpr auto kTable = std::to_array<TopicSettingInfo>({
    {kDurability, "durable", "enum(durable|memory)",
     "what an acknowledgement means: the record is on stable storage, or in the broker's memory "
     "and "
     "written right after, so that a crash may lose it"},
    {kMaxMessageBytes, "4194304", "bytes",
     "largest record batch that is accepted, from 1024 to 4194304"},
    {kTimestampType, "CreateTime", "enum(CreateTime|LogAppendTime)",
     "whether records keep their producer's timestamp or get the time of their append"},
    {kMinInsyncReplicas, "1", "int",
     "in-sync replicas below which acks=all is refused; at most the replication factor"},
    {kRetentionBytes, "-1", "bytes",
     "bytes of a partition above which its oldest segments go; -1: any number"},
    {kRetentionMs, "604800000", "ms",
     "time after its append when a record may go, with its segment; -1: it stays"},
    {kSegmentBytes, "268435456", "bytes",
     "size at which a log goes on in a new segment file, from 65536 to 2147483648"},
    {kSegmentMs, "604800000", "ms",
     "age at which a segment ends although it is not full, at least 1000"},
});
static_assert(std::ranges::is_sorted(kTable, {}, &TopicSettingInfo::name));
static_assert(wire::kBatchBytesMax == 4194304, "the table above names the limit");

// -1 is no limit, and what somebody who is refused looks for.
Result<std::int64_t> retention(std::string_view name, std::string_view value) {
  if (value == "-1") return -1;
  auto limit = name == kRetentionBytes ? parse_byte_size(name, value, 0, kRetentionBytesMax)
                                       : parse_integer(name, value, 1, kMsMax);
  if (limit) return limit;
  return fail(limit.error().code(), limit.error().message() + "; -1 is no limit");
}

// The value in the form in which it is kept.
Result<std::string> checked(std::string_view name, std::string_view value) {
  if (name == kTimestampType) {
    TIDELOG_ASSIGN(const std::size_t choice, parse_choice(name, value, kTimestampTypes));
    return std::string(kTimestampTypes[choice]);
  }
  if (name == kDurability) {
    TIDELOG_ASSIGN(const std::size_t choice, parse_choice(name, value, kDurabilities));
    return std::string(kDurabilities[choice]);
  }
  Result<std::int64_t> number = 0;
  if (name == kMaxMessageBytes) {
    number = parse_byte_size(name, value, kMessageBytesMin, wire::kBatchBytesMax);
  } else if (name == kSegmentBytes) {
    number = parse_byte_size(name, value, kSegmentBytesMin, kSegmentBytesMax);
  } else if (name == kRetentionBytes || name == kRetentionMs) {
    number = retention(name, value);
  } else if (name == kSegmentMs) {
    number = parse_integer(name, value, kSegmentMsMin, kMsMax);
  } else {
    TIDELOG_CHECK(name == kMinInsyncReplicas, "every setting of the table has its check");
    number = parse_integer(name, value, 1, kReplicasMax);
  }
  if (!number) return fail(std::move(number).error());
  return std::to_string(*number);
}

std::int64_t number_of(std::string_view plain) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), number);
  TIDELOG_CHECK(error == std::errc{} && end == plain.data() + plain.size(),
                "settings are kept only after they were checked");
  return number;
}

Result<> check_name(std::string_view name) {
  if (std::ranges::find(kTable, name, &TopicSettingInfo::name) != kTable.end()) return {};
  std::array<std::string_view, kTable.size()> names;
  std::ranges::transform(kTable, names.begin(), &TopicSettingInfo::name);
  return fail(ErrorCode::kInvalidSetting, fmt::format("topics have no setting '{}'{}", name,
                                                      did_you_mean(closest_names(name, names, 2))));
}

}  // namespace

std::span<const TopicSettingInfo> topic_setting_table() { return kTable; }

Result<> TopicSettings::reset(std::string_view name) {
  TIDELOG_TRY(check_name(name));
  if (const auto at = values.find(name); at != values.end()) values.erase(at);
  return {};
}

Result<> TopicSettings::set(std::string_view name, std::string_view value) {
  TIDELOG_TRY(check_name(name));
  TIDELOG_ASSIGN(std::string plain, checked(name, value));
  values.insert_or_assign(std::string(name), std::move(plain));
  return {};
}

std::string_view TopicSettings::value(std::string_view name) const {
  if (const auto at = values.find(name); at != values.end()) return at->second;
  const auto info = std::ranges::find(kTable, name, &TopicSettingInfo::name);
  TIDELOG_CHECK(info != kTable.end(), "only settings of the table have values");
  return info->default_value;
}

log::PartitionLogSettings TopicSettings::log_settings() const {
  return {.segment_bytes = static_cast<std::uint64_t>(number_of(value(kSegmentBytes))),
          .batch_bytes_max = static_cast<std::size_t>(number_of(value(kMaxMessageBytes))),
          .log_append_time = value(kTimestampType) == kTimestampTypes[1],
          .retention_ms = number_of(value(kRetentionMs)),
          .retention_bytes = number_of(value(kRetentionBytes)),
          .segment_ms = number_of(value(kSegmentMs))};
}

RecordDurability TopicSettings::durability() const {
  return value(kDurability) == kDurabilities[1] ? RecordDurability::kMemory
                                                : RecordDurability::kDurable;
}

std::int32_t TopicSettings::min_insync_replicas() const {
  return static_cast<std::int32_t>(number_of(value(kMinInsyncReplicas)));
}

}  // namespace tidelog::replication
