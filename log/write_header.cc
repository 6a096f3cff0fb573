#include "log/write_header.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"

namespace tidelog::log {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kChecksumAt = 56;

// The table's own hash seeds the header's: one pass over each, no copy.
std::uint64_t header_checksum(std::span<const std::byte> write, std::uint32_t entries) {
  const std::size_t table_bytes = std::size_t{entries} * kJournalEntryBytes;
  const std::uint64_t seed =
      entries == 0 ? 0 : xxh3_64(write.subspan(kWriteHeaderBytes, table_bytes));
  return xxh3_64(write.first(kChecksumAt), seed);
}

}  // namespace

void encode_write_header(const WriteHeader& header, std::span<std::byte> write) {
  TIDELOG_CHECK(write.size() >= kWriteHeaderBytes + header.entries * kJournalEntryBytes,
                "a write has room for its header and table");
  std::byte* to = write.data();
  store_le<std::uint32_t>(to, kWriteMagic);
  store_le<std::uint8_t>(to + 4, kVersion);
  store_le<std::uint8_t>(to + 5, static_cast<std::uint8_t>(header.kind));
  store_le<std::uint16_t>(to + 6, 0);
  store_le<std::uint64_t>(to + 8, header.file_id);
  store_le<std::uint64_t>(to + 16, header.sequence);
  store_le<std::uint32_t>(to + 24, header.bytes_used);
  store_le<std::uint32_t>(to + 28, header.entries);
  store_le<std::uint64_t>(to + 32, header.durable);
  store_le<std::uint64_t>(to + 40, header.first);
  store_le<std::uint64_t>(to + 48, header.position);
  store_le<std::uint64_t>(to + kChecksumAt, header_checksum(write, header.entries));
}

bool has_write_magic(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && load_le<std::uint32_t>(bytes.data()) == kWriteMagic;
}

std::optional<WriteHeader> decode_write_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kWriteHeaderBytes || !has_write_magic(bytes)) return std::nullopt;
  const std::byte* from = bytes.data();
  if (load_le<std::uint8_t>(from + 4) != kVersion) return std::nullopt;
  const auto kind = load_le<std::uint8_t>(from + 5);
  if (kind != static_cast<std::uint8_t>(WriteKind::kSegment) &&
      kind != static_cast<std::uint8_t>(WriteKind::kJournal)) {
    return std::nullopt;
  }
  WriteHeader header;
  header.kind = static_cast<WriteKind>(kind);
  header.file_id = load_le<std::uint64_t>(from + 8);
  header.sequence = load_le<std::uint64_t>(from + 16);
  header.bytes_used = load_le<std::uint32_t>(from + 24);
  header.entries = load_le<std::uint32_t>(from + 28);
  header.durable = load_le<std::uint64_t>(from + 32);
  header.first = load_le<std::uint64_t>(from + 40);
  header.position = load_le<std::uint64_t>(from + 48);
  const std::uint64_t front =
      kWriteHeaderBytes + std::uint64_t{header.entries} * kJournalEntryBytes;
  if (front > bytes.size() || header.bytes_used < front) return std::nullopt;
  if (load_le<std::uint64_t>(from + kChecksumAt) != header_checksum(bytes, header.entries)) {
    return std::nullopt;
  }
  return header;
}

}  // namespace tidelog::log
