#include "tests/sim/scripted_log.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/compression.h"
#include "wire/limits.h"
#include "wire/record.h"

namespace tidelog::sim {

Result<Offset> ScriptedLog::append(std::span<const std::byte> batch, std::int64_t append_time_us) {
  TIDELOG_ASSIGN(const wire::BatchView view, wire::BatchView::parse(batch, wire::kBatchBytesMax));
  if (view.size() != batch.size()) {
    return fail(ErrorCode::kInvalidBatch, "an entry holds more than its batch");
  }
  TIDELOG_TRY(view.verify(wire::batch_seed(partition_)));
  if (view.producer_id().value() >= 0) {
    TIDELOG_ASSIGN(const auto original, producers_.check(view));
    if (original) return *original;
  }
  Buffer copy = Buffer::allocate(batch.size());
  std::memcpy(copy.data(), batch.data(), batch.size());
  wire::stamp_batch(copy.bytes().first(batch.size()),
                    {.base_offset = end_,
                     .leader_epoch = LeaderEpoch(1),
                     .append_time_us = append_time_us,
                     .log_append_time_ms = std::nullopt},
                    wire::batch_seed(partition_));
  const Offset base = end_;
  producers_.apply(view, base);
  end_ = base + view.last_offset_delta() + 1;
  batches_.push_back({std::move(copy).freeze(batch.size()), base, end_, view.max_timestamp_ms()});
  return base;
}

ScriptedLog::Read ScriptedLog::read(Offset offset, std::size_t bytes_max) const {
  Read read;
  read.next = offset;
  for (const Kept& kept : batches_) {
    if (kept.next <= offset) continue;
    if (!read.batches.empty() && read.bytes + kept.bytes.size() > bytes_max) break;
    read.batches.push_back(kept.bytes);
    read.bytes += kept.bytes.size();
    read.next = kept.next;
  }
  return read;
}

void ScriptedLog::trim(Offset offset) {
  std::erase_if(batches_, [&](const Kept& kept) { return kept.next <= offset; });
  start_ = std::max(start_, std::min(offset, end_));
}

std::optional<Offset> ScriptedLog::find_time(std::int64_t timestamp_ms) const {
  const auto at = std::ranges::find_if(
      batches_, [&](const Kept& kept) { return kept.max_timestamp_ms >= timestamp_ms; });
  if (at == batches_.end()) return std::nullopt;
  return std::max(at->base, start_);
}

void ScriptedLog::corrupt(Offset offset, std::size_t byte) {
  const auto at = std::ranges::find_if(
      batches_, [&](const Kept& kept) { return kept.base <= offset && offset < kept.next; });
  TIDELOG_CHECK(at != batches_.end() && byte < at->bytes.size(), "there is such a byte");
  Buffer copy = Buffer::allocate(at->bytes.size());
  std::memcpy(copy.data(), at->bytes.data(), at->bytes.size());
  copy.data()[byte] ^= std::byte{0x10};
  at->bytes = std::move(copy).freeze(at->bytes.size());
}

std::vector<std::string> ScriptedLog::values() const {
  std::vector<std::string> values;
  for (const Kept& kept : batches_) {
    const auto view = wire::BatchView::parse(kept.bytes.bytes(), kept.bytes.size());
    TIDELOG_CHECK(view.has_value(), "what was appended can be read");
    std::vector<std::byte> plain;
    std::span<const std::byte> records = view->records();
    if (view->codec() != wire::Codec::kNone) {
      const auto done =
          wire::decompress(view->codec(), records, wire::kUncompressedBatchBytesMax, plain);
      TIDELOG_CHECK(done.has_value(), "what was appended can be decompressed");
      records = plain;
    }
    wire::RecordReader reader(records, view->record_count());
    wire::RecordView record;
    while (reader.has_next()) {
      TIDELOG_CHECK(reader.next(record).has_value(), "what was appended can be decoded");
      values.emplace_back(record.value.value_or("<null>"));
    }
  }
  return values;
}

}  // namespace tidelog::sim
