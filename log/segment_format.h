// The first block of a segment file: whose it is and which life of the file this is.
//
//   0   u32 magic "TIDS"; u8 version 1; 3 zero
//   8   u64 file id, random, new for every life of the file
//   16  16 bytes topic id; 32 i32 partition; u32 zero
//   40  i64 base offset
//   48  i64 creation time, µs since 1970 UTC
//   56  u64 XXH3-64 of bytes 0-55; zeros to the end of the block
//
// Writes follow, each on a new block (write_header.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace tidelog::log {

inline constexpr std::uint32_t kSegmentMagic = 0x53444954;  // "TIDS"
inline constexpr std::size_t kSegmentHeaderBytes = 64;

struct SegmentFileHeader {
  std::uint64_t file_id = 0;
  TopicPartition id;
  Offset base;
  std::int64_t created_us = 0;

  bool operator==(const SegmentFileHeader&) const = default;
};
// REQUIRES: `to` has kSegmentHeaderBytes.
void encode_segment_header(const SegmentFileHeader& header, std::span<std::byte> to);
std::optional<SegmentFileHeader> decode_segment_header(std::span<const std::byte> from);

// "00000000000000000042.log" and ".idx".
std::string segment_file_name(Offset base);
std::string index_file_name(Offset base);
// The base offset in a segment's name; nullopt for other names.
std::optional<Offset> parse_segment_file_name(std::string_view name);
std::optional<Offset> parse_index_file_name(std::string_view name);

// Whether `name` is of a segment that a recovery set aside: "<base>.log.aside-<n>".
bool is_set_aside(std::string_view name);
std::string aside_sentence(std::string_view name);

}  // namespace tidelog::log
