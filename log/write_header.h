// The 64 bytes that begin every write to a segment or a journal: which file and life of it, which
// write, how long, and what was durable when it was submitted. It is this replica's own evidence
// and never travels.
//
//   0   u32 magic "TIDW"; u8 version 1; u8 kind; u16 zero
//   8   u64 file id (of the segment) or journal id
//   16  u64 sequence, from 1, rising
//   24  u32 bytes used, from the header's first byte to the last batch's last
//   28  u32 entries in the table behind the header (journal; 0 in a segment)
//   32  u64 durable: end offset (segment, never above the write's own end), sequence (journal)
//   40  u64 first: base offset of the first batch (segment); oldest sequence still needed (journal)
//   48  u64 position of this header: byte in the segment; file number << 48 | byte (journal)
//   56  u64 XXH3-64 of bytes 0-55 and of the entry table
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "log/io/file_system.h"

namespace tidelog::log {

inline constexpr std::size_t kWriteHeaderBytes = 64;
inline constexpr std::uint32_t kWriteMagic = 0x57444954;  // "TIDW"
// Smallest distance from a position that holds zeros to the next batch.
inline constexpr std::size_t kSectorBytes = 512;

enum class WriteKind : std::uint8_t { kSegment = 1, kJournal = 2 };

struct WriteHeader {
  WriteKind kind = WriteKind::kSegment;
  std::uint64_t file_id = 0;
  std::uint64_t sequence = 0;
  std::uint32_t bytes_used = 0;
  std::uint32_t entries = 0;
  std::uint64_t durable = 0;
  std::uint64_t first = 0;
  std::uint64_t position = 0;

  // Bytes that the write takes up in its file.
  std::uint64_t disk_bytes() const {
    return (std::uint64_t{bytes_used} + io::kBlockBytes - 1) & ~std::uint64_t{io::kBlockBytes - 1};
  }
};

// Bytes of one journal entry in the table (journal_format.h).
inline constexpr std::size_t kJournalEntryBytes = 64;

// Writes the header with its checksum. REQUIRES: `write` begins with room for the header, followed
// by the entry table, already encoded.
void encode_write_header(const WriteHeader& header, std::span<std::byte> write);

// True where four bytes could begin a write header.
bool has_write_magic(std::span<const std::byte> bytes);

// The header at the start of `bytes` when it is sound: magic, version, checksum (the table lies in
// `bytes`), bytes used not below header and table. Says nothing about file, position and batches.
std::optional<WriteHeader> decode_write_header(std::span<const std::byte> bytes);

}  // namespace tidelog::log
