// What a journal file holds: two header slots, then writes. A journal write is a write header, a
// table of entries and the batches of the entries, in the table's order and without gaps.
//
// File header, in block 0 and again in block 1 (both say the same except while the journal gets a
// new id):
//   0   u32 magic "TIDJ"; u8 version 1; 3 zero
//   8   u64 generation, rises with each new id
//   16  u64 journal id
//   24  u32 shard; u32 number of this file in the ring
//   32  u64 size of this file
//   40  u32 shards of the broker when the id was given, each of which has a journal; 0 while they
//       are made
//   44  u32 files of the ring, all of which are there; 0 where it holds nothing
//   48  u64 zero
//   56  u64 XXH3-64 of bytes 0-55
//
// Entry:
//   0   16 bytes topic id; 16 i32 partition; 20 u8 kind; 3 zero
//   24  i64 durable end of the log when the write was submitted
//   32  i64 base offset; 40 i64 next offset of the batches
//       truncate: the batches are the head to keep, next is the new end; durable end only: both are
//       it
//   48  u32 length of the batches; u32 incarnation of the log (catalog)
//   56  u64 chained XXH3-64 of the batches' header checksums
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/ids.h"
#include "log/io/file_system.h"
#include "log/write_header.h"

namespace tidelog::log {

inline constexpr std::uint32_t kJournalMagic = 0x4A444954;  // "TIDJ"
inline constexpr std::size_t kJournalHeaderBytes = 64;
// Where the first write of a journal file may stand.
inline constexpr std::uint64_t kJournalDataStart = 2 * io::kBlockBytes;
// A header that says more is damaged: readers look for each journal and file that one names.
inline constexpr std::uint32_t kJournalShardsMax = 65'536;
inline constexpr std::uint32_t kRingFilesMax = 4'096;

struct JournalFileHeader {
  std::uint64_t generation = 0;
  std::uint64_t journal_id = 0;
  std::uint32_t shard = 0;
  std::uint32_t file_number = 0;
  std::uint64_t file_bytes = 0;
  std::uint32_t shard_count = 0;
  std::uint32_t ring_files = 0;

  bool operator==(const JournalFileHeader&) const = default;
};
// REQUIRES: `to` has kJournalHeaderBytes.
void encode_journal_header(const JournalFileHeader& header, std::span<std::byte> to);
std::optional<JournalFileHeader> decode_journal_header(std::span<const std::byte> from);

enum class EntryKind : std::uint8_t { kAppend = 1, kTruncate = 2, kDurableEnd = 3 };

struct JournalEntry {
  TopicPartition id;
  EntryKind kind = EntryKind::kAppend;
  Offset durable_end;
  Offset base;
  Offset next;
  std::uint32_t length = 0;
  std::uint32_t incarnation = 0;
  std::uint64_t checksum = 0;

  bool operator==(const JournalEntry&) const = default;
};
void encode_journal_entry(const JournalEntry& entry, std::byte* to);
// Nullopt for an unknown kind or lengths and offsets that cannot be.
std::optional<JournalEntry> decode_journal_entry(const std::byte* from);

// One step of an entry's checksum: binds the entry to exactly these batches, so that an older
// write's bytes in the same place are never taken for them.
std::uint64_t chain_checksum(std::uint64_t chain, std::uint64_t batch_header_checksum);

// A place in a journal as one number.
inline constexpr int kFileNumberShift = 48;
inline constexpr std::uint64_t kFilePositionMask = (std::uint64_t{1} << kFileNumberShift) - 1;
inline std::uint64_t journal_position(std::uint32_t file_number, std::uint64_t position) {
  return (std::uint64_t{file_number} << kFileNumberShift) | position;
}

}  // namespace tidelog::log
