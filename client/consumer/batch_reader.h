// Reads the records of one verified batch, decompressing it first where needed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/buffer_pool.h"
#include "base/result.h"
#include "wire/record.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {

class BatchReader {
 public:
  // `batch` is one whole batch whose checksums were verified. Views of records point into
  // memory(), which keeps `buffers` alive too.
  // Fails with kInvalidBatch (more records than bytes for them), kTooLarge (decompresses to more
  // than its header says, or than `uncompressed_bytes_max`).
  static Result<BatchReader> open(const SharedBytes& batch,
                                  const std::shared_ptr<BufferPool>& buffers,
                                  std::size_t uncompressed_bytes_max);

  bool has_next() const { return reader_.has_next(); }
  // The next record, valid until the following call (its views as long as memory()).
  // Fails with kInvalidBatch.
  Result<const wire::RecordView*> next();
  // Of the record that next() gave.
  std::int64_t offset() const { return base_offset_ + record_.offset_delta; }
  std::int64_t timestamp_ms() const;

  std::int32_t leader_epoch() const { return leader_epoch_; }
  std::int64_t next_offset() const { return next_offset_; }
  std::int32_t record_count() const { return record_count_; }
  // Of all its records, decompressed.
  std::size_t bytes() const { return bytes_; }
  const std::shared_ptr<const void>& memory() const { return memory_; }

 private:
  BatchReader(const wire::BatchHeader& header, std::shared_ptr<const void> memory,
              std::span<const std::byte> records);

  std::shared_ptr<const void> memory_;
  wire::RecordReader reader_;
  wire::RecordView record_;
  std::int64_t base_offset_;
  std::int64_t next_offset_;
  std::int64_t base_timestamp_ms_;
  std::optional<std::int64_t> append_time_ms_;  // stands for every record's own
  std::int32_t leader_epoch_;
  std::int32_t record_count_;
  std::size_t bytes_;
};

}  // namespace tidelog::client_core
