// Builds one record batch from records: the producer's side of wire/record_batch.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer_pool.h"
#include "wire/compression.h"
#include "wire/record.h"
#include "wire/record_batch.h"

namespace tidelog::wire {

class BatchBuilder {
 public:
  BatchBuilder() = default;

  bool empty() const { return count_ == 0; }
  std::int32_t record_count() const { return count_; }
  // Uncompressed size the batch has now, header included.
  std::size_t size() const { return kBatchHeaderBytes + records_.size(); }
  // At most the size it would have with one more record of this key, value and headers (a few bytes
  // less when its deltas are small).
  std::size_t size_with(const RecordView& record) const;

  // Adds a record; its deltas are set here from `timestamp_ms` and the count. REQUIRES:
  // record_count() < kRecordsPerBatchMax, and size_with(record) fits kUncompressedBatchBytesMax.
  void add(std::int64_t timestamp_ms, RecordView record);

  struct Identity {
    ProducerId producer_id{-1};
    std::int16_t producer_epoch = -1;
    std::int32_t base_sequence = -1;
  };
  // Compresses, hashes and writes the whole batch; then the builder is empty and may be used again.
  // Records that compression would not make smaller stay uncompressed. REQUIRES: !empty().
  // Fails as check_compression(), leaving the builder as it was.
  Result<SharedBytes> finish(const Compression& compression, std::uint64_t seed,
                             const Identity& identity, BufferPool& pool);

 private:
  std::vector<std::byte> records_;
  std::vector<std::byte> compressed_;
  std::int32_t count_ = 0;
  std::int64_t base_timestamp_ms_ = 0;
  std::int64_t max_timestamp_ms_ = 0;
};

}  // namespace tidelog::wire
