#include "wire/frame.h"

#include <flatbuffers/flatbuffers.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"

namespace tidelog::wire {
namespace {

constexpr std::string_view kMagicText = "TIDE";
constexpr std::size_t kChecksumPosition = 28;
constexpr std::uint16_t kKnownFlags = kFrameAnswer | kFrameMoreParts;

constexpr auto kApis = std::to_array<ApiInfo>({
    {ApiKey::kNotice, "notice", 1, 1},
    {ApiKey::kHello, "hello", 1, 1},
    {ApiKey::kPing, "ping", 1, 1},
    {ApiKey::kCancel, "cancel", 1, 1},
    {ApiKey::kMetadata, "metadata", 1, 1},
    {ApiKey::kCreateTopic, "create_topic", 1, 1},
    {ApiKey::kDeleteTopic, "delete_topic", 1, 1},
    {ApiKey::kDescribeTopic, "describe_topic", 1, 1},
    {ApiKey::kAlterTopic, "alter_topic", 1, 1},
    {ApiKey::kAddPartitions, "add_partitions", 1, 1},
    {ApiKey::kDeleteRecords, "delete_records", 1, 1},
    {ApiKey::kProduce, "produce", 1, 1},
    {ApiKey::kFetch, "fetch", 1, 1},
    {ApiKey::kListOffsets, "list_offsets", 1, 1},
    {ApiKey::kEpochEnd, "epoch_end", 1, 1},
    {ApiKey::kInitProducerId, "init_producer_id", 1, 1},
    {ApiKey::kClusterStatus, "cluster_status", 1, 1},
    {ApiKey::kBrokerSettings, "broker_settings", 1, 1},
});
static_assert(std::ranges::is_sorted(kApis, {}, &ApiInfo::key));

std::uint32_t frame_checksum(std::span<const std::byte> prefix, std::span<const std::byte> table) {
  return static_cast<std::uint32_t>(xxh3_64_of_two(prefix.first(kChecksumPosition), table) &
                                    0xFFFFFFFFU);
}

bool looks_like_http(std::string_view text) {
  static constexpr std::array<std::string_view, 9> kMethods = {
      "GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "PRI * HTTP"};
  return text.starts_with("HTTP/") || std::ranges::any_of(kMethods, [&](std::string_view method) {
           return text.starts_with(method);
         });
}

// A TLS record: handshake (22), version 3.x, and a ClientHello or ServerHello inside.
bool looks_like_tls(std::span<const std::byte> bytes) {
  return bytes.size() > 5 && bytes[0] == std::byte{22} && bytes[1] == std::byte{3} &&
         bytes[2] <= std::byte{4} && (bytes[5] == std::byte{1} || bytes[5] == std::byte{2});
}

constexpr std::size_t kOtherRequestHeadBytes = 14;

// A request of the Apache Kafka protocol, big-endian: i32 size, i16 API key, i16 API version, i32
// correlation id, i16 client id length.
bool looks_like_other_request(std::span<const std::byte> bytes) {
  if (bytes.size() < kOtherRequestHeadBytes) return false;
  const auto big_endian = [&](std::size_t at, int count) {
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + static_cast<std::size_t>(i)]);
    }
    return value;
  };
  const std::uint32_t size = big_endian(0, 4);
  const std::uint32_t client_id_bytes = big_endian(12, 2);
  return size >= 8 && size < (1U << 30) && big_endian(4, 2) < 100 && big_endian(6, 2) < 30 &&
         (client_id_bytes == 0xFFFF || client_id_bytes < size);
}

// Says in words what a connection speaks whose first bytes are no frame.
std::string name_wrong_magic(std::span<const std::byte> bytes) {
  if (looks_like_http(as_text(bytes))) return "the peer speaks HTTP, not the Tidelog protocol";
  if (looks_like_tls(bytes)) return "the peer speaks TLS, but this port is not encrypted";
  if (looks_like_other_request(bytes)) {
    return "the peer speaks the Apache Kafka protocol, not the Tidelog protocol";
  }
  std::string hex;
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    fmt::format_to(std::back_inserter(hex), "{}{:02x}", hex.empty() ? "" : " ",
                   std::to_integer<unsigned>(byte));
  }
  return fmt::format("a frame must begin with \"TIDE\", but these bytes came: {}", hex);
}

}  // namespace

std::span<const ApiInfo> api_table() { return kApis; }

const ApiInfo* api_info(std::uint16_t key) {
  const auto wanted = static_cast<ApiKey>(key);
  const auto at = std::ranges::lower_bound(kApis, wanted, {}, &ApiInfo::key);
  return at != kApis.end() && at->key == wanted ? &*at : nullptr;
}

std::size_t FramePrefix::raw_position() const {
  return align_up(kFramePrefixBytes + std::size_t{table_bytes}, 8);
}

Result<> check_frame_begin(std::span<const std::byte> bytes) {
  const std::size_t known = std::min(bytes.size(), kMagicText.size());
  if (as_text(bytes.first(known)) == kMagicText.substr(0, known)) return {};
  return fail(ErrorCode::kMalformedFrame, name_wrong_magic(bytes));
}

Result<FramePrefix> decode_frame_prefix(std::span<const std::byte, kFramePrefixBytes> bytes,
                                        std::size_t frame_bytes_max) {
  const std::byte* at = bytes.data();
  TIDELOG_TRY(check_frame_begin(bytes));
  FramePrefix prefix;
  prefix.frame_bytes = load_le<std::uint32_t>(at + 4);
  prefix.correlation = load_le<std::uint64_t>(at + 8);
  prefix.api_key = load_le<std::uint16_t>(at + 16);
  prefix.api_version = load_le<std::uint16_t>(at + 18);
  prefix.flags = load_le<std::uint16_t>(at + 20);
  prefix.table_bytes = load_le<std::uint32_t>(at + 24);
  prefix.checksum = load_le<std::uint32_t>(at + kChecksumPosition);
  if (prefix.frame_bytes > frame_bytes_max) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("a frame of {} bytes (API {}) is above the limit of {} bytes",
                            prefix.frame_bytes, prefix.api_key, frame_bytes_max));
  }
  if (prefix.raw_position() > prefix.frame_bytes) {
    return fail(ErrorCode::kMalformedFrame,
                fmt::format("a frame of {} bytes (API {}) cannot hold a table of {} bytes",
                            prefix.frame_bytes, prefix.api_key, prefix.table_bytes));
  }
  if ((prefix.flags & ~kKnownFlags) != 0 || load_le<std::uint16_t>(at + 22) != 0) {
    return fail(ErrorCode::kMalformedFrame,
                fmt::format("a frame (API {}) has unknown flags: {:#x}, {:#x}", prefix.api_key,
                            prefix.flags, load_le<std::uint16_t>(at + 22)));
  }
  return prefix;
}

Result<> check_frame(std::span<const std::byte, kFramePrefixBytes> prefix_bytes,
                     std::span<const std::byte> table) {
  const auto table_bytes = load_le<std::uint32_t>(prefix_bytes.data() + 24);
  TIDELOG_CHECK(table.size() >= table_bytes, "the table must be there before its frame is checked");
  const std::uint32_t found = frame_checksum(prefix_bytes, table.first(table_bytes));
  const auto stated = load_le<std::uint32_t>(prefix_bytes.data() + kChecksumPosition);
  if (found != stated) {
    return fail(ErrorCode::kChecksumMismatch,
                fmt::format("a frame (API {}) states checksum {:08x}, but its bytes have {:08x}",
                            load_le<std::uint16_t>(prefix_bytes.data() + 16), stated, found));
  }
  const std::span<const std::byte> padding = table.subspan(table_bytes);
  if (std::ranges::any_of(padding, [](std::byte byte) { return byte != std::byte{0}; })) {
    return fail(ErrorCode::kChecksumMismatch, "the padding behind a frame's table is not zeros");
  }
  return {};
}

namespace {

// Frames up to this size share blocks.
constexpr std::size_t kSmallFrameBytesMax = 1024;

std::size_t head_bytes_of(std::span<const std::byte> table) {
  return align_up(kFramePrefixBytes + table.size(), 8);
}

std::span<const std::byte> finished_table(const flatbuffers::FlatBufferBuilder& table) {
  return std::as_bytes(std::span(table.GetBufferPointer(), table.GetSize()));
}

// Writes prefix, table and padding: head_bytes_of(table) bytes.
void write_frame(const FrameHead& head, std::span<const std::byte> table, std::size_t raw_bytes,
                 std::byte* to) {
  const std::size_t head_bytes = head_bytes_of(table);
  const std::size_t frame_bytes = head_bytes + raw_bytes;
  TIDELOG_CHECK(frame_bytes <= std::numeric_limits<std::uint32_t>::max(),
                "a frame's length must fit its field");
  store_le<std::uint32_t>(to, kFrameMagic);
  store_le<std::uint32_t>(to + 4, static_cast<std::uint32_t>(frame_bytes));
  store_le<std::uint64_t>(to + 8, head.correlation);
  store_le<std::uint16_t>(to + 16, static_cast<std::uint16_t>(head.api));
  store_le<std::uint16_t>(to + 18, head.version);
  store_le<std::uint16_t>(to + 20, head.flags);
  store_le<std::uint16_t>(to + 22, 0);
  store_le<std::uint32_t>(to + 24, static_cast<std::uint32_t>(table.size()));
  store_le<std::uint32_t>(to + kChecksumPosition, frame_checksum({to, kFramePrefixBytes}, table));
  if (!table.empty()) std::memcpy(to + kFramePrefixBytes, table.data(), table.size());
  const std::size_t padding = head_bytes - kFramePrefixBytes - table.size();
  std::memset(to + kFramePrefixBytes + table.size(), 0, padding);
}

}  // namespace

SharedBytes encode_frame(const FrameHead& head, std::span<const std::byte> table,
                         std::size_t raw_bytes, BufferPool& pool) {
  Buffer buffer = pool.take(head_bytes_of(table));
  write_frame(head, table, raw_bytes, buffer.data());
  return std::move(buffer).freeze(head_bytes_of(table));
}

SharedBytes encode_frame(const FrameHead& head, const flatbuffers::FlatBufferBuilder& table,
                         std::size_t raw_bytes, BufferPool& pool) {
  return encode_frame(head, finished_table(table), raw_bytes, pool);
}

SharedBytes FrameEncoder::encode(const FrameHead& head, const flatbuffers::FlatBufferBuilder& table,
                                 std::size_t raw_bytes) {
  const std::span<const std::byte> bytes = finished_table(table);
  const std::size_t head_bytes = head_bytes_of(bytes);
  if (head_bytes > kSmallFrameBytesMax) return encode_frame(head, bytes, raw_bytes, pool_);
  if (!block_ || block_.capacity() - used_ < head_bytes) {
    block_ = pool_.take(kBufferAlignment);
    used_ = 0;
  }
  write_frame(head, bytes, raw_bytes, block_.data() + used_);
  SharedBytes frame = block_.view(used_, head_bytes);
  used_ += head_bytes;
  return frame;
}

}  // namespace tidelog::wire
