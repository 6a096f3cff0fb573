#include "log/segment_filler.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "log/batch_walk.h"
#include "log/log_tail.h"
#include "log/write_header.h"

namespace tidelog::log {
namespace {

Offset base_of(std::span<const std::byte> batch) {
  return Offset(load_le<std::int64_t>(batch.data() + 24));
}

}  // namespace

Result<> SegmentFiller::set_aside(Offset base) {
  const std::string path = directory_ + "/" + segment_file_name(base);
  TIDELOG_ASSIGN(bool exists, files_.exists(path));
  if (!exists) return {};
  std::string aside;
  for (int number = 1; exists; ++number) {
    aside = fmt::format("{}.aside-{}", path, number);
    TIDELOG_ASSIGN(exists, files_.exists(aside));
  }
  problems_.push_back(
      fmt::format("{} is set aside as {}: it cannot be used as it is", path, aside));
  TIDELOG_TRY(files_.rename(path, aside));
  return files_.sync_directory(directory_);
}

Result<> SegmentFiller::end_segment(Segment& last) {
  if (!last.file) {
    TIDELOG_ASSIGN(last.file,
                   files_.open(last.path, {.mode = io::OpenMode::kWrite, .direct = true}));
  }
  TIDELOG_TRY(seal_segment(*last.file, last.file_bytes, last.summary.bytes));
  last.file_bytes = last.summary.bytes;
  TIDELOG_TRY(save_index_if_possible(files_, last));
  last.file.reset();
  return {};
}

Result<> SegmentFiller::begin_segment(std::vector<std::shared_ptr<Segment>>& segments, Offset base,
                                      CreateSegment create) {
  TIDELOG_TRY(set_aside(base));
  const auto producers = segments.empty() ? nullptr : std::move(segments.back()->producers);
  if (!segments.empty() && segments.back()->summary.base == base) segments.pop_back();  // empty
  TIDELOG_ASSIGN(auto segment, create(files_, directory_, id_, base, now_us_, 2 * io::kBlockBytes));
  if (producers) segment->producers = producers;
  segments.push_back(std::move(segment));
  return {};
}

// As much as one chunk of the tail would hold, contiguous.
SegmentFiller::Piece SegmentFiller::first_piece(
    std::span<const std::span<const std::byte>> batches) {
  Piece piece{.batches = 0, .bytes = kWriteHeaderBytes};
  Offset next = base_of(batches.front());
  for (const auto& batch : batches) {
    if (base_of(batch) != next) break;
    if (piece.batches > 0 && piece.bytes + batch.size() > kChunkBytesMax) break;
    piece.bytes += batch.size();
    next = next + load_le<std::int32_t>(batch.data() + 36) + 1;
    ++piece.batches;
  }
  return piece;
}

bool SegmentFiller::fits(const std::vector<std::shared_ptr<Segment>>& segments, Offset base,
                         std::size_t bytes) const {
  if (segments.empty()) return false;
  const SegmentSummary& last = segments.back()->summary;
  const bool full = last.bytes > io::kBlockBytes && last.bytes + bytes > segment_bytes_;
  return last.end == base && !full;
}

Result<bool> SegmentFiller::prepare(std::vector<std::shared_ptr<Segment>>& segments,
                                    const std::vector<std::span<const std::byte>>& batches,
                                    Begin begin) {
  prepared_ = true;
  if (batches.empty()) return false;
  const Offset base = base_of(batches.front());
  if (begin == Begin::kLastSegment && fits(segments, base, first_piece(batches).bytes)) {
    return false;
  }
  const bool ends_last =
      begin == Begin::kLastSegment && !segments.empty() && segments.back()->summary.end == base;
  if (ends_last) TIDELOG_TRY(end_segment(*segments.back()));
  TIDELOG_TRY(begin_segment(segments, base, create_unsynced_segment));
  segments.back()->file.reset();  // there may be thousands
  made_ = true;
  return true;
}

Result<> SegmentFiller::fill(std::vector<std::shared_ptr<Segment>>& segments,
                             const std::vector<std::span<const std::byte>>& batches, Begin begin) {
  bool fresh = begin == Begin::kNewSegment && !made_;
  for (auto rest = std::span(batches); !rest.empty();) {
    const Piece piece = first_piece(rest);
    if (fresh || !fits(segments, base_of(rest.front()), piece.bytes)) {
      const bool ends_last =
          !fresh && !segments.empty() &&
          (segments.back()->file || segments.back()->summary.end == base_of(rest.front()));
      if (ends_last) TIDELOG_TRY(end_segment(*segments.back()));
      TIDELOG_TRY(begin_segment(segments, base_of(rest.front()), create_segment));
    }
    fresh = false;
    Segment& last = *segments.back();
    if (!last.file) {
      TIDELOG_ASSIGN(last.file,
                     files_.open(last.path, {.mode = io::OpenMode::kWrite, .direct = true}));
    }
    TIDELOG_TRY(write(last, rest.first(piece.batches)));
    rest = rest.subspan(piece.batches);
  }
  if (!segments.empty() && segments.back()->file) {
    if (!prepared_) TIDELOG_TRY(segments.back()->file->sync_data());
    segments.back()->file.reset();  // opened again by whoever needs it
  }
  return {};
}

Result<> SegmentFiller::write(Segment& segment,
                              std::span<const std::span<const std::byte>> batches) {
  std::size_t used = kWriteHeaderBytes;
  for (const auto& batch : batches) used += batch.size();
  const auto disk_bytes = static_cast<std::size_t>(align_up(used, io::kBlockBytes));
  Buffer image = Buffer::allocate(disk_bytes);
  std::fill_n(image.data(), disk_bytes, std::byte{0});
  std::size_t at = kWriteHeaderBytes;
  for (const auto& bytes : batches) {
    std::memcpy(image.data() + at, bytes.data(), bytes.size());
    const auto batch =
        wire::BatchView::parse(image.bytes().subspan(at, bytes.size()), kStoredBatchBytesMax);
    TIDELOG_CHECK(batch.has_value(), "replay writes whole batches");
    if (at == kWriteHeaderBytes)
      TIDELOG_CHECK(batch->base_offset() == segment.summary.end, "no gap");
    segment.enter(*batch, segment.summary.bytes + at, index_interval_);
    at += bytes.size();
  }
  encode_write_header({.kind = WriteKind::kSegment,
                       .file_id = segment.summary.file_id,
                       .sequence = segment.summary.last_sequence + 1,
                       .bytes_used = static_cast<std::uint32_t>(used),
                       .durable = static_cast<std::uint64_t>(segment.summary.end.value()),
                       .first = static_cast<std::uint64_t>(base_of(batches.front()).value()),
                       .position = segment.summary.bytes},
                      image.bytes());
  TIDELOG_TRY(
      segment.file->write_at(FilePosition(segment.summary.bytes), image.bytes().first(disk_bytes)));
  segment.summary.bytes += disk_bytes;
  segment.summary.last_sequence += 1;
  segment.file_bytes = std::max(segment.file_bytes, segment.summary.bytes);
  return {};
}

}  // namespace tidelog::log
