// Records inside a batch, in the public Apache Kafka v2 encoding (KIP-98): each a zigzag varint
// length, i8 attributes 0, varlong timestamp delta, varint offset delta, varint key length (-1:
// null) and key, varint value length (-1: null) and value, varint header count, and per header
// varint key length and key, varint value length
// (-1: null) and value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tidelog::wire {

struct HeaderView {
  std::string_view key;
  std::optional<std::string_view> value{};
};

// A record whose bytes somebody else owns. nullopt is null, which differs from empty.
struct RecordView {
  std::int64_t timestamp_delta_ms = 0;
  std::int32_t offset_delta = 0;
  std::optional<std::string_view> key{};
  std::optional<std::string_view> value{};
  std::vector<HeaderView> headers{};
};

// Bytes that append_record will write.
std::size_t record_bytes(const RecordView& record);
// Appends the encoding of `record` to `out`. A reader takes at most kHeadersPerRecordMax headers.
void append_record(const RecordView& record, std::vector<std::byte>& out);

// Reads the records of an uncompressed record section, one after another.
class RecordReader {
 public:
  // `records` must outlive the reader and the views it gives.
  // Offset deltas must rise from record to record and end at most at `last_offset_delta`.
  RecordReader(std::span<const std::byte> records, std::int32_t record_count,
               std::int32_t last_offset_delta = INT32_MAX)
      : rest_(records), left_(record_count), last_offset_delta_(last_offset_delta) {}

  // True until all records were read.
  bool has_next() const { return left_ > 0; }
  // Overwrites `record` (its headers vector is reused).
  // Fails with kInvalidBatch: a length points outside, a count is absurd or above its limit, an
  // offset delta does not rise, or bytes are left at the end. REQUIRES: has_next(), and no call
  // failed before.
  Result<> next(RecordView& record);

 private:
  std::span<const std::byte> rest_;
  std::int32_t left_;
  std::int32_t last_offset_delta_;
  std::int32_t offset_delta_before_ = -1;
};

}  // namespace tidelog::wire
