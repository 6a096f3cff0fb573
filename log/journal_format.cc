#include "log/journal_format.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/checksum.h"

namespace tidelog::log {
namespace {
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kChecksumAt = 56;
}  // namespace

void encode_journal_header(const JournalFileHeader& header, std::span<std::byte> to) {
  std::fill_n(to.begin(), kJournalHeaderBytes, std::byte{0});
  store_le<std::uint32_t>(to.data(), kJournalMagic);
  store_le<std::uint8_t>(to.data() + 4, kVersion);
  store_le<std::uint64_t>(to.data() + 8, header.generation);
  store_le<std::uint64_t>(to.data() + 16, header.journal_id);
  store_le<std::uint32_t>(to.data() + 24, header.shard);
  store_le<std::uint32_t>(to.data() + 28, header.file_number);
  store_le<std::uint64_t>(to.data() + 32, header.file_bytes);
  store_le<std::uint32_t>(to.data() + 40, header.shard_count);
  store_le<std::uint32_t>(to.data() + 44, header.ring_files);
  store_le<std::uint64_t>(to.data() + kChecksumAt, xxh3_64(to.first(kChecksumAt)));
}

std::optional<JournalFileHeader> decode_journal_header(std::span<const std::byte> from) {
  if (from.size() < kJournalHeaderBytes || load_le<std::uint32_t>(from.data()) != kJournalMagic ||
      load_le<std::uint8_t>(from.data() + 4) != kVersion ||
      load_le<std::uint64_t>(from.data() + kChecksumAt) != xxh3_64(from.first(kChecksumAt))) {
    return std::nullopt;
  }
  JournalFileHeader header;
  header.generation = load_le<std::uint64_t>(from.data() + 8);
  header.journal_id = load_le<std::uint64_t>(from.data() + 16);
  header.shard = load_le<std::uint32_t>(from.data() + 24);
  header.file_number = load_le<std::uint32_t>(from.data() + 28);
  header.file_bytes = load_le<std::uint64_t>(from.data() + 32);
  header.shard_count = load_le<std::uint32_t>(from.data() + 40);
  header.ring_files = load_le<std::uint32_t>(from.data() + 44);
  if (header.shard_count > kJournalShardsMax || header.ring_files > kRingFilesMax) {
    return std::nullopt;
  }
  return header;
}

void encode_journal_entry(const JournalEntry& entry, std::byte* to) {
  std::memcpy(to, entry.id.topic.bytes.data(), entry.id.topic.bytes.size());
  store_le<std::int32_t>(to + 16, entry.id.partition.value());
  store_le<std::uint32_t>(to + 20, static_cast<std::uint32_t>(entry.kind));
  store_le<std::int64_t>(to + 24, entry.durable_end.value());
  store_le<std::int64_t>(to + 32, entry.base.value());
  store_le<std::int64_t>(to + 40, entry.next.value());
  store_le<std::uint32_t>(to + 48, entry.length);
  store_le<std::uint32_t>(to + 52, entry.incarnation);
  store_le<std::uint64_t>(to + 56, entry.checksum);
}

std::optional<JournalEntry> decode_journal_entry(const std::byte* from) {
  JournalEntry entry;
  std::memcpy(entry.id.topic.bytes.data(), from, entry.id.topic.bytes.size());
  entry.id.partition = PartitionIndex(load_le<std::int32_t>(from + 16));
  const auto kind = load_le<std::uint32_t>(from + 20);
  if (kind < 1 || kind > 3) return std::nullopt;
  entry.kind = static_cast<EntryKind>(kind);
  entry.durable_end = Offset(load_le<std::int64_t>(from + 24));
  entry.base = Offset(load_le<std::int64_t>(from + 32));
  entry.next = Offset(load_le<std::int64_t>(from + 40));
  entry.length = load_le<std::uint32_t>(from + 48);
  entry.incarnation = load_le<std::uint32_t>(from + 52);
  entry.checksum = load_le<std::uint64_t>(from + 56);
  if (entry.base.value() < 0 || entry.base > entry.next) return std::nullopt;
  if ((entry.length == 0) != (entry.base == entry.next)) return std::nullopt;
  return entry;
}

std::uint64_t chain_checksum(std::uint64_t chain, std::uint64_t batch_header_checksum) {
  std::array<std::byte, 16> both;
  store_le<std::uint64_t>(both.data(), chain);
  store_le<std::uint64_t>(both.data() + 8, batch_header_checksum);
  return xxh3_64(both);
}

}  // namespace tidelog::log
