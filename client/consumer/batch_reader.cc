#include "client/consumer/batch_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "wire/compression.h"
#include "wire/limits.h"

namespace tidelog::client_core {
namespace {

// Batches in pooled memory: the pool must outlive them, whoever holds them.
struct HeldBytes {
  std::shared_ptr<BufferPool> buffers;
  SharedBytes bytes;
};

// Seven fields of one byte each.
constexpr std::size_t kRecordBytesMin = 7;

// A compressed batch says itself how many bytes its records have; whoever reads them makes room
// for as many records as it says.
Result<> check_count(const wire::BatchHeader& header, std::span<const std::byte> records) {
  if (static_cast<std::size_t>(header.record_count) <= records.size() / kRecordBytesMin) return {};
  return fail(ErrorCode::kInvalidBatch,
              fmt::format("a batch of {} records has only {} bytes of them", header.record_count,
                          records.size()));
}

}  // namespace

BatchReader::BatchReader(const wire::BatchHeader& header, std::shared_ptr<const void> memory,
                         std::span<const std::byte> records)
    : memory_(std::move(memory)),
      reader_(records, header.record_count, header.last_offset_delta),
      base_offset_(header.base_offset.value()),
      next_offset_(header.next_offset().value()),
      base_timestamp_ms_(header.base_timestamp_ms),
      leader_epoch_(header.leader_epoch.value()),
      record_count_(header.record_count),
      bytes_(records.size()) {
  if ((header.attributes & wire::kAttributeLogAppendTime) != 0) {
    append_time_ms_ = header.max_timestamp_ms;
  }
}

Result<BatchReader> BatchReader::open(const SharedBytes& batch,
                                      const std::shared_ptr<BufferPool>& buffers,
                                      std::size_t uncompressed_bytes_max) {
  TIDELOG_ASSIGN(const wire::BatchView view, wire::BatchView::parse(batch.bytes(), batch.size()));
  const wire::BatchHeader header = view.header();
  if (header.codec() == wire::Codec::kNone) {
    auto held = std::make_shared<HeldBytes>(HeldBytes{buffers, batch});
    return BatchReader(header, std::move(held), view.records());
  }
  const std::size_t bytes_max =
      header.uncompressed_bytes == 0
          ? uncompressed_bytes_max
          : std::min<std::size_t>(header.uncompressed_bytes, uncompressed_bytes_max);
  auto plain = std::make_shared<std::vector<std::byte>>();
  TIDELOG_TRY(wire::decompress(header.codec(), view.records(), bytes_max, *plain));
  const std::span<const std::byte> records = *plain;
  TIDELOG_TRY(check_count(header, records));
  return BatchReader(header, std::move(plain), records);
}

Result<const wire::RecordView*> BatchReader::next() {
  TIDELOG_TRY(reader_.next(record_));
  return &record_;
}

std::int64_t BatchReader::timestamp_ms() const {
  if (append_time_ms_) return *append_time_ms_;
  // Modulo 2^64, as they were written.
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(base_timestamp_ms_) +
                                   static_cast<std::uint64_t>(record_.timestamp_delta_ms));
}

}  // namespace tidelog::client_core
