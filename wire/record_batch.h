// The record batch: what a producer sends, the log stores and consumers receive, byte for byte
// apart from the fields the leader stamps. A 96-byte header, then the records (wire/record.h),
// possibly compressed.
//
//   offset  field                                                                 set by
//   0       u32 magic "TIDB"; u8 version 1; u8 header length / 8 = 12             producer
//   6       u16 flags: bit 0 CRC32C valid, bit 1 by the Apache Kafka protocol     broker
//   8       u64 XXH3-64 of the records as stored                                  producer
//   16, 20  u32 length of the records; u32 CRC32C (0 unless flag bit 0)           producer, broker
//   24, 32  i64 base offset; i32 leader epoch                                     leader
//   36      i32 last offset delta                                                 producer
//   40, 48  i64 base, i64 max timestamp (ms since 1970 UTC)                       producer
//   56, 64  i64 producer id (-1 none); i32 base sequence                          producer
//   68      i16 producer epoch                                                    producer
//   70      u16 attributes: bits 0-2 codec, 3 log-append time, 4 transactional,   producer
//           5 control, 6 delete horizon
//   72, 76  i32 record count; u32 uncompressed length of the records, 0 unknown   producer
//   80      i64 append time, µs since 1970 UTC                                    leader
//   88      u64 XXH3-64 of bytes 0-87, seed batch_seed(topic, partition)          producer, leader
//
// Little-endian, packed at any byte position. A producer sends the leader's fields (24-35, 80-87)
// as 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace tidelog::wire {

inline constexpr std::size_t kBatchHeaderBytes = 96;
inline constexpr std::uint32_t kBatchMagic = 0x42444954;  // "TIDB"
inline constexpr std::uint8_t kBatchVersion = 1;

enum BatchFlags : std::uint16_t {
  kBatchCrcValid = 1,
  kBatchFromOtherProtocol = 2,
};

// Numbers as in the Apache Kafka v2 batch.
enum class Codec : std::uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

enum BatchAttributes : std::uint16_t {
  kAttributeCodecMask = 7,
  kAttributeLogAppendTime = 8,
  kAttributeTransactional = 16,
  kAttributeControl = 32,
  kAttributeDeleteHorizon = 64,
};

// Seed of the header checksum: a batch that lands in another partition does not verify.
std::uint64_t batch_seed(const TopicPartition& partition);

// All header fields, decoded.
struct BatchHeader {
  std::uint16_t flags = 0;
  std::uint64_t records_checksum = 0;
  std::uint32_t records_bytes = 0;
  std::uint32_t crc32c = 0;
  Offset base_offset{0};
  LeaderEpoch leader_epoch{0};
  std::int32_t last_offset_delta = 0;
  std::int64_t base_timestamp_ms = 0;
  std::int64_t max_timestamp_ms = 0;
  ProducerId producer_id{-1};
  std::int32_t base_sequence = -1;
  std::int16_t producer_epoch = -1;
  std::uint16_t attributes = 0;
  std::int32_t record_count = 0;
  std::uint32_t uncompressed_bytes = 0;
  std::int64_t append_time_us = 0;

  Codec codec() const { return static_cast<Codec>(attributes & kAttributeCodecMask); }
  Offset last_offset() const { return base_offset + last_offset_delta; }
  Offset next_offset() const { return base_offset + last_offset_delta + 1; }
  std::size_t batch_bytes() const { return kBatchHeaderBytes + records_bytes; }
};

// Writes `header` with its checksum. REQUIRES: `to` has kBatchHeaderBytes.
void encode_batch_header(const BatchHeader& header, std::uint64_t seed, std::byte* to);

// A batch in memory that somebody else owns. Cheap to copy. Made only by parse(), so that its
// lengths are known to fit; accessors load single fields.
class BatchView {
 public:
  // Reads the first batch in `bytes`, which may go on behind it. Checks magic, version, header
  // length, flags, codec, that the whole batch is there, and that counts and deltas make sense
  // (record count 1 to kRecordsPerBatchMax, last offset delta >= count - 1: larger in a compacted
  // log). No checksum yet. Fails with kInvalidBatch, kUnsupportedCodec, kBatchTooLarge (more than
  // `batch_bytes_max`), kEndOfFile (bytes end before the batch does).
  static Result<BatchView> parse(std::span<const std::byte> bytes, std::size_t batch_bytes_max);

  std::span<const std::byte> bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  std::span<const std::byte> records() const { return bytes_.subspan(kBatchHeaderBytes); }

  BatchHeader header() const;
  Offset base_offset() const { return Offset(load_le<std::int64_t>(bytes_.data() + 24)); }
  LeaderEpoch leader_epoch() const {
    return LeaderEpoch(load_le<std::int32_t>(bytes_.data() + 32));
  }
  std::int32_t last_offset_delta() const { return load_le<std::int32_t>(bytes_.data() + 36); }
  Offset next_offset() const { return base_offset() + last_offset_delta() + 1; }
  std::int64_t max_timestamp_ms() const { return load_le<std::int64_t>(bytes_.data() + 48); }
  std::int64_t append_time_us() const { return load_le<std::int64_t>(bytes_.data() + 80); }
  ProducerId producer_id() const { return ProducerId(load_le<std::int64_t>(bytes_.data() + 56)); }
  std::int32_t base_sequence() const { return load_le<std::int32_t>(bytes_.data() + 64); }
  std::int16_t producer_epoch() const { return load_le<std::int16_t>(bytes_.data() + 68); }
  std::int32_t record_count() const { return load_le<std::int32_t>(bytes_.data() + 72); }
  std::uint16_t attributes() const { return load_le<std::uint16_t>(bytes_.data() + 70); }
  Codec codec() const { return static_cast<Codec>(attributes() & kAttributeCodecMask); }

  bool header_sound(std::uint64_t seed) const;
  bool records_sound() const;
  // Both checksums. Fails with kChecksumMismatch and says which.
  Result<> verify(std::uint64_t seed) const;

 private:
  explicit BatchView(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

// What a broker checks in each batch that a producer sent, before it is stamped: both checksums,
// the leader's fields are 0, as many offsets as records, no attribute or flag that only a broker
// sets, and no control or transactional batch. Fails with kChecksumMismatch, kInvalidBatch.
Result<> check_produced_batch(const BatchView& batch, std::uint64_t seed);

// What the leader puts into a batch.
struct BatchStamp {
  Offset base_offset;
  LeaderEpoch leader_epoch;
  std::int64_t append_time_us;
  // Set for topics with log-append time: becomes the max timestamp, and sets the attribute.
  std::optional<std::int64_t> log_append_time_ms;
};
// Stamps a batch in place and renews the header checksum: 88 bytes are hashed, never the records.
// REQUIRES: `batch` is a whole batch that parse() accepted.
void stamp_batch(std::span<std::byte> batch, const BatchStamp& stamp, std::uint64_t seed);

}  // namespace tidelog::wire
