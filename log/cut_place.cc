#include "log/cut_place.h"

#include <fmt/core.h>

#include "log/batch_walk.h"
#include "log/file_window.h"
#include "log/log_tail.h"
#include "log/write_header.h"

namespace tidelog::log {

Result<CutPlace> find_cut(io::FileSystem& files, const std::string& path, const TopicPartition& id,
                          const SegmentSummary& summary, Offset offset) {
  TIDELOG_ASSIGN(auto file, files.open(path, {.mode = io::OpenMode::kRead, .direct = true}));
  FileWindow window(*file, summary.bytes, kChunkBytesMax);
  CutPlace place{
      .position = io::kBlockBytes, .base = summary.base, .end = summary.base, .head = {}};
  std::uint32_t bytes_used = 0;
  for (std::uint64_t at = io::kBlockBytes; at < summary.bytes;) {
    TIDELOG_ASSIGN(const auto front, window.at(at, kWriteHeaderBytes));
    const auto header = decode_write_header(front);
    if (!header || header->file_id != summary.file_id) {
      return fail(ErrorCode::kCorruptData,
                  fmt::format("{} has no write header at byte {}", path, at));
    }
    if (header->first > static_cast<std::uint64_t>(offset.value())) break;
    place.position = at;
    place.sequence = header->sequence - 1;
    place.base = place.end = Offset(static_cast<std::int64_t>(header->first));
    bytes_used = header->bytes_used;
    at += header->disk_bytes();
  }
  TIDELOG_ASSIGN(const auto write, window.at(place.position, bytes_used));
  if (write.size() < bytes_used) {
    return fail(ErrorCode::kCorruptData, fmt::format("{} ends inside a write", path));
  }
  BatchPlace walk{.next = place.base};
  const auto problem = walk_batches(
      write.subspan(kWriteHeaderBytes), place.position + kWriteHeaderBytes, wire::batch_seed(id),
      Offset(0), walk, [&](std::uint64_t, const wire::BatchView& batch) {
        if (batch.next_offset() > offset) return;
        place.head.insert(place.head.end(), batch.bytes().begin(), batch.bytes().end());
        place.end = batch.next_offset();
      });
  if (problem) return fail(ErrorCode::kCorruptData, fmt::format("{}: {}", path, *problem));
  return place;
}

}  // namespace tidelog::log
