#include "log/segment_format.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"

namespace tidelog::log {
namespace {
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kChecksumAt = 56;
constexpr std::size_t kNameDigits = 20;
constexpr std::string_view kAsideMark = ".aside-";
constexpr std::string_view kSuffix = ".log";
constexpr std::string_view kIndexSuffix = ".idx";

std::optional<Offset> parse_name(std::string_view name, std::string_view suffix) {
  if (name.size() != kNameDigits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  std::int64_t base = 0;
  const char* end = name.data() + kNameDigits;
  const auto [parsed, problem] = std::from_chars(name.data(), end, base);
  if (problem != std::errc() || parsed != end || base < 0) return std::nullopt;
  return Offset(base);
}

}  // namespace

void encode_segment_header(const SegmentFileHeader& header, std::span<std::byte> to) {
  std::fill_n(to.begin(), kSegmentHeaderBytes, std::byte{0});
  store_le<std::uint32_t>(to.data(), kSegmentMagic);
  store_le<std::uint8_t>(to.data() + 4, kVersion);
  store_le<std::uint64_t>(to.data() + 8, header.file_id);
  std::memcpy(to.data() + 16, header.id.topic.bytes.data(), header.id.topic.bytes.size());
  store_le<std::int32_t>(to.data() + 32, header.id.partition.value());
  store_le<std::int64_t>(to.data() + 40, header.base.value());
  store_le<std::int64_t>(to.data() + 48, header.created_us);
  store_le<std::uint64_t>(to.data() + kChecksumAt, xxh3_64(to.first(kChecksumAt)));
}

std::optional<SegmentFileHeader> decode_segment_header(std::span<const std::byte> from) {
  if (from.size() < kSegmentHeaderBytes || load_le<std::uint32_t>(from.data()) != kSegmentMagic ||
      load_le<std::uint8_t>(from.data() + 4) != kVersion ||
      load_le<std::uint64_t>(from.data() + kChecksumAt) != xxh3_64(from.first(kChecksumAt))) {
    return std::nullopt;
  }
  SegmentFileHeader header;
  header.file_id = load_le<std::uint64_t>(from.data() + 8);
  std::memcpy(header.id.topic.bytes.data(), from.data() + 16, header.id.topic.bytes.size());
  header.id.partition = PartitionIndex(load_le<std::int32_t>(from.data() + 32));
  header.base = Offset(load_le<std::int64_t>(from.data() + 40));
  header.created_us = load_le<std::int64_t>(from.data() + 48);
  return header;
}

std::string segment_file_name(Offset base) { return fmt::format("{:020}.log", base.value()); }
std::string index_file_name(Offset base) { return fmt::format("{:020}.idx", base.value()); }

std::optional<Offset> parse_segment_file_name(std::string_view name) {
  return parse_name(name, kSuffix);
}

std::optional<Offset> parse_index_file_name(std::string_view name) {
  return parse_name(name, kIndexSuffix);
}

bool is_set_aside(std::string_view name) {
  constexpr std::size_t kSegmentName = kNameDigits + kSuffix.size();
  return name.size() > kSegmentName && parse_segment_file_name(name.substr(0, kSegmentName)) &&
         name.substr(kSegmentName).starts_with(kAsideMark);
}

std::string aside_sentence(std::string_view name) {
  return fmt::format(
      "{} was set aside by a recovery: it could not be used as it is; nothing in it is served",
      name);
}

}  // namespace tidelog::log
