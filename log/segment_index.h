// Finds batches in a segment: about every 32 KiB the base offset, position and max timestamp; and
// the .idx file that spares a scan. An .idx is never evidence: on any doubt it is built anew from
// the segment.
//
//   0   u32 magic "TIDI"; u8 version 1; 3 zero
//   8   u64 file id of the segment
//   16  i64 base offset; 24 i64 end offset; 32 u64 bytes of the segment covered
//   40  i64 max timestamp, ms; 48 i64 last append time, µs; 56 u64 sequence of the last write
//   64  u32 epoch starts; u32 entries; 72 i32 last epoch; u32 bytes of the producer snapshot
//   80  u64 XXH3-64 of everything behind the header
//   88  u64 XXH3-64 of bytes 0-87
//   96  epoch starts: i32 epoch, u32 zero, i64 start
//       entries: i64 base offset, u64 position, i64 max timestamp of all up to the next entry
//       producer snapshot (producer_snapshot.h)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "log/producer_state.h"
#include "wire/record_batch.h"

namespace tidelog::log {

struct EpochStart {
  LeaderEpoch epoch;
  Offset start;

  bool operator==(const EpochStart&) const = default;
};

struct IndexEntry {
  Offset base;
  std::uint64_t position = 0;
  std::int64_t max_timestamp_ms = 0;  // of the segment up to the next entry: it never falls

  bool operator==(const IndexEntry&) const = default;
};

struct SegmentIndex {
  std::vector<IndexEntry> entries;

  // Enters a batch at `position`; makes an entry when the last one lies `interval` bytes back.
  void add(const wire::BatchView& batch, std::uint64_t position, std::size_t interval);
  // The last entry at or below `offset`; null when there is none.
  const IndexEntry* floor(Offset offset) const;
  // The first entry above `offset`; null when there is none.
  const IndexEntry* above(Offset offset) const;
  // The first entry whose batches reach `timestamp_ms`; null when none does.
  const IndexEntry* reaching(std::int64_t timestamp_ms) const;
  // Forgets entries at or above `offset`.
  void cut(Offset offset);
};

// What a log knows of a segment without its index entries.
struct SegmentSummary {
  std::uint64_t file_id = 0;
  Offset base;
  Offset end;
  std::uint64_t bytes = 0;  // where the next write goes
  std::int64_t max_timestamp_ms = -1;
  std::int64_t last_append_time_us = -1;
  std::uint64_t last_sequence = 0;
  LeaderEpoch last_epoch{-1};
  std::vector<EpochStart> epochs;  // that begin in this segment

  // Enters a batch that continues the segment. REQUIRES: base_offset() == end.
  void add(const wire::BatchView& batch);
};

// `producers`: behind the last batch that `summary` knows.
std::vector<std::byte> encode_index(const SegmentSummary& summary, const SegmentIndex& index,
                                    const ProducerTable& producers);
struct DecodedIndex {
  SegmentSummary summary;
  SegmentIndex index;
  ProducerTable producers;
};
// Nullopt when anything is wrong with it.
std::optional<DecodedIndex> decode_index(std::span<const std::byte> file);

}  // namespace tidelog::log
