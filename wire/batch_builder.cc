#include "wire/batch_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/checksum.h"
#include "wire/limits.h"

namespace tidelog::wire {
namespace {

// What the two deltas (10 and 5 bytes at most, at least 1 each) and the length can add.
constexpr std::size_t kDeltaSlackBytes = 9 + 4 + 1;

}  // namespace

std::size_t BatchBuilder::size_with(const RecordView& record) const {
  return size() + record_bytes(record) + kDeltaSlackBytes;
}

void BatchBuilder::add(std::int64_t timestamp_ms, RecordView record) {
  TIDELOG_CHECK(count_ < kRecordsPerBatchMax, "a batch must not hold more records than its limit");
  if (count_ == 0) {
    base_timestamp_ms_ = timestamp_ms;
    max_timestamp_ms_ = timestamp_ms;
  }
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
  // Timestamps are a caller's, and may lie further apart than a signed difference can say: readers
  // add modulo 2^64 and get them back.
  record.timestamp_delta_ms = static_cast<std::int64_t>(
      static_cast<std::uint64_t>(timestamp_ms) - static_cast<std::uint64_t>(base_timestamp_ms_));
  record.offset_delta = count_;
  append_record(record, records_);
  TIDELOG_CHECK(records_.size() <= kUncompressedBatchBytesMax,
                "a batch must not outgrow its limit");
  ++count_;
}

Result<SharedBytes> BatchBuilder::finish(const Compression& compression, std::uint64_t seed,
                                         const Identity& identity, BufferPool& pool) {
  TIDELOG_CHECK(count_ > 0, "a batch has at least one record");
  std::span<const std::byte> stored = records_;
  Codec stored_codec = Codec::kNone;
  if (compression.codec != Codec::kNone) {
    TIDELOG_TRY(compress(compression, records_, compressed_));
    if (compressed_.size() < records_.size()) {
      stored = compressed_;
      stored_codec = compression.codec;
    }
  }
  BatchHeader header;
  header.records_checksum = xxh3_64(stored);
  header.records_bytes = static_cast<std::uint32_t>(stored.size());
  header.last_offset_delta = count_ - 1;
  header.base_timestamp_ms = base_timestamp_ms_;
  header.max_timestamp_ms = max_timestamp_ms_;
  header.producer_id = identity.producer_id;
  header.base_sequence = identity.base_sequence;
  header.producer_epoch = identity.producer_epoch;
  header.attributes = static_cast<std::uint16_t>(stored_codec);
  header.record_count = count_;
  header.uncompressed_bytes = static_cast<std::uint32_t>(records_.size());

  Buffer buffer = pool.take(header.batch_bytes());
  encode_batch_header(header, seed, buffer.data());
  std::memcpy(buffer.data() + kBatchHeaderBytes, stored.data(), stored.size());
  records_.clear();
  count_ = 0;
  return std::move(buffer).freeze(header.batch_bytes());
}

}  // namespace tidelog::wire
