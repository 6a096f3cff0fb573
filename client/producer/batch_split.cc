#include "client/producer/batch_split.h"

#include <utility>

#include "base/check.h"
#include "wire/compression.h"
#include "wire/limits.h"
#include "wire/record_batch.h"

namespace tidelog::client_core {
namespace {

std::size_t payload_bytes(const wire::RecordView& record) {
  std::size_t bytes =
      (record.key ? record.key->size() : 0) + (record.value ? record.value->size() : 0);
  for (const wire::HeaderView& header : record.headers) {
    bytes += header.key.size() + (header.value ? header.value->size() : 0);
  }
  return bytes;
}

// A batch that begins like `whole`.
std::unique_ptr<Batch> part_of(const Batch& whole) {
  auto part = std::make_unique<Batch>();
  part->opened_at = whole.opened_at;
  part->flush_epoch = whole.flush_epoch;
  part->encoded_for = whole.encoded_for;
  part->maybe_stored = whole.maybe_stored;
  part->trouble = whole.trouble;
  return part;
}

}  // namespace

Result<> split_in_two(Batch& batch, std::deque<std::unique_ptr<Batch>>& to) {
  TIDELOG_CHECK(batch.records.size() > 1, "one record cannot be split");
  TIDELOG_ASSIGN(const wire::BatchView view,
                 wire::BatchView::parse(batch.encoded.bytes(), batch.encoded.size()));
  std::vector<std::byte> plain;
  std::span<const std::byte> records = view.records();
  if (view.codec() != wire::Codec::kNone) {
    TIDELOG_TRY(wire::decompress(view.codec(), records, wire::kUncompressedBatchBytesMax, plain));
    records = plain;
  }
  auto first = part_of(batch);
  auto second = part_of(batch);
  wire::RecordReader reader(records, view.record_count());
  wire::RecordView record;
  for (std::size_t at = 0; at < batch.records.size(); ++at) {
    TIDELOG_TRY(reader.next(record));
    // By bytes, not by count: one record may be most of the batch.
    const bool half = first->builder.size() >= wire::kBatchHeaderBytes + records.size() / 2;
    const bool last = at + 1 == batch.records.size() && second->records.empty();
    Batch& part = (at > 0 && half) || !second->records.empty() || last ? *second : *first;
    part.payload_bytes += payload_bytes(record);
    part.builder.add(batch.records[at].timestamp_ms, record);
    part.records.push_back({{}, batch.records[at].timestamp_ms});
  }
  // Nothing can fail from here on.
  for (std::size_t at = 0; at < batch.records.size(); ++at) {
    const std::size_t in_first = first->records.size();
    RecordSlot& slot = at < in_first ? first->records[at] : second->records[at - in_first];
    slot.callback = std::move(batch.records[at].callback);
  }
  // The same records keep the same numbers: what is stored of them is found.
  first->numbers = batch.numbers;
  if (batch.numbers) second->numbers = behind(*batch.numbers, first->records.size());
  first->charged_bytes = batch.charged_bytes / 2;
  second->charged_bytes = batch.charged_bytes - first->charged_bytes;
  batch.records.clear();
  to.push_front(std::move(second));
  to.push_front(std::move(first));
  return {};
}

}  // namespace tidelog::client_core
