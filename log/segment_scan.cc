#include "log/segment_scan.h"

#include <fmt/core.h>

#include <cstring>
#include <limits>

#include "base/bytes.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

// By words, not by bytes: it is asked of all that follows the last write.
bool is_zeros(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes.front() == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

SegmentScanner::SegmentScanner(io::File& file, std::uint64_t size, std::uint64_t file_id,
                               const TopicPartition& id, Offset records_from)
    : window_(file, size, std::size_t{1} << 20, Unreadable::kIsUnsound),
      file_id_(file_id),
      seed_(wire::batch_seed(id)),
      records_from_(records_from) {}

std::optional<WriteHeader> SegmentScanner::header_at(std::span<const std::byte> bytes,
                                                     std::uint64_t position) const {
  const auto header = decode_write_header(bytes);
  if (!header || header->kind != WriteKind::kSegment ||
      (header->file_id != file_id_ && !broken(Rule::kFileIdCounts)) ||
      header->position != position) {
    return std::nullopt;
  }
  return header;
}

Result<SegmentScanner::Step> SegmentScanner::step(SegmentCursor& cursor,
                                                  const BatchVisitor& visit) {
  Step step;
  TIDELOG_ASSIGN(const auto front, window_.at(cursor.position, io::kBlockBytes));
  step.header = header_at(front, cursor.position);
  if (!step.header) {
    if (!is_zeros(front))
      step.problem = fmt::format("byte {}: no sound write header", cursor.position);
    return step;
  }
  const WriteHeader& header = *step.header;
  if (header.sequence <= cursor.sequence ||
      header.first != static_cast<std::uint64_t>(cursor.place.next.value())) {
    step.problem =
        fmt::format("byte {}: write {} begins at offset {} where {} is due", cursor.position,
                    header.sequence, header.first, cursor.place.next.value());
    return step;
  }
  TIDELOG_ASSIGN(const auto write, window_.at(cursor.position, header.bytes_used));
  if (write.size() < header.bytes_used) {
    step.problem = fmt::format("byte {}: the file ends inside a write", cursor.position);
    return step;
  }
  // Twice: nothing of a write may be seen before all of it is proven.
  BatchPlace place = cursor.place;
  const auto batches = write.subspan(kWriteHeaderBytes);
  const std::uint64_t start = cursor.position + kWriteHeaderBytes;
  if (auto problem = walk_batches(batches, start, seed_, records_from_, place, nullptr)) {
    step.problem = std::move(*problem);
    return step;
  }
  if (visit) {
    BatchPlace again = cursor.place;
    const Offset none(std::numeric_limits<std::int64_t>::max());
    walk_batches(batches, start, seed_, none, again, visit);
  }
  step.whole = true;
  cursor.position += header.disk_bytes();
  cursor.sequence = header.sequence;
  cursor.place = place;
  return step;
}

Result<bool> SegmentScanner::written_from(std::uint64_t position) {
  for (position = window_.next_data(position); position < window_.size();
       position = window_.next_data(position + io::kBlockBytes)) {
    TIDELOG_ASSIGN(const auto block, window_.at(position, io::kBlockBytes));
    if (!is_zeros(block)) return true;
  }
  return false;
}

Result<std::optional<WriteHeader>> SegmentScanner::find_header(std::uint64_t position) {
  for (position = window_.next_data(align_up(position, io::kBlockBytes)); position < window_.size();
       position = window_.next_data(position + io::kBlockBytes)) {
    TIDELOG_ASSIGN(const auto block, window_.at(position, kWriteHeaderBytes));
    if (!has_write_magic(block)) continue;
    if (auto header = header_at(block, position)) return header;
  }
  return std::nullopt;
}

}  // namespace tidelog::log
