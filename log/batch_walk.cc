#include "log/batch_walk.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "log/rules.h"
#include "log/write_header.h"

namespace tidelog::log {

std::optional<std::string> walk_batches(std::span<const std::byte> bytes, std::uint64_t start,
                                        std::uint64_t seed, Offset records_from, BatchPlace& place,
                                        const BatchVisitor& visit) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (bytes.size() - at < 4 || load_le<std::uint32_t>(bytes.data() + at) == 0) {
      at = static_cast<std::size_t>(align_up(start + at + 1, kSectorBytes) - start);
      continue;
    }
    const std::uint64_t position = start + at;
    const auto batch = wire::BatchView::parse(bytes.subspan(at), kStoredBatchBytesMax);
    if (!batch) return fmt::format("byte {}: {}", position, batch.error().message());
    if (!batch->header_sound(seed)) {
      return fmt::format("byte {}: the batch header's checksum is wrong", position);
    }
    if (batch->base_offset() != place.next) {
      return fmt::format("byte {}: the batch has base offset {} where {} is due", position,
                         batch->base_offset().value(), place.next.value());
    }
    if (batch->leader_epoch() < place.epoch) {
      return fmt::format("byte {}: the batch has epoch {} after epoch {}", position,
                         batch->leader_epoch().value(), place.epoch.value());
    }
    if (!broken(Rule::kWholeWrites) && batch->base_offset() >= records_from &&
        !batch->records_sound()) {
      return fmt::format("byte {}: the checksum of the records at offset {} is wrong", position,
                         batch->base_offset().value());
    }
    place.next = batch->next_offset();
    place.epoch = batch->leader_epoch();
    if (visit) visit(position, *batch);
    at += batch->size();
  }
  return std::nullopt;
}

}  // namespace tidelog::log
