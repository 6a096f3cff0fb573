#include "log/segment.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/buffer_pool.h"
#include "base/random.h"
#include "log/io/storage_error.h"
#include "log/rules.h"
#include "log/segment_scan.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {
constexpr std::uint64_t kIndexBytesMax = std::uint64_t{256} << 20;
}

std::shared_ptr<Segment> SegmentList::find(Offset offset) const {
  const auto next = std::ranges::upper_bound(
      segments_, offset, {}, [](const auto& segment) { return segment->summary.base; });
  if (next == segments_.begin()) return nullptr;
  const auto& segment = *(next - 1);
  return offset < segment->summary.end ? segment : nullptr;
}

std::shared_ptr<Segment> SegmentList::drop_first() {
  auto first = std::move(segments_.front());
  segments_.erase(segments_.begin());
  return first;
}

void Segment::enter(const wire::BatchView& batch, std::uint64_t position,
                    std::size_t index_interval) {
  index->add(batch, position, index_interval);
  summary.add(batch);
  producers->apply(batch);
}

std::uint64_t SegmentList::bytes() const {
  std::uint64_t all = 0;
  for (const auto& segment : segments_) all += segment->summary.bytes;
  return all;
}

Result<std::shared_ptr<Segment>> create_unsynced_segment(io::FileSystem& files,
                                                         const std::string& directory,
                                                         const TopicPartition& id, Offset base,
                                                         std::int64_t now_us, std::uint64_t space) {
  auto segment = std::make_shared<Segment>();
  segment->path = directory + "/" + segment_file_name(base);
  segment->summary.file_id = random_id();
  segment->summary.base = segment->summary.end = base;
  segment->summary.bytes = io::kBlockBytes;
  segment->index = std::make_shared<SegmentIndex>();
  segment->created_us = now_us;
  segment->producers = std::make_shared<ProducerTable>();
  TIDELOG_ASSIGN(const bool exists, files.exists(segment->path));
  if (exists) TIDELOG_TRY(files.remove_file(segment->path));
  TIDELOG_ASSIGN(segment->file,
                 files.open(segment->path, {.mode = io::OpenMode::kCreate, .direct = true}));
  TIDELOG_TRY(segment->file->allocate(FilePosition(0), space));
  Buffer block = Buffer::allocate(io::kBlockBytes);
  std::fill_n(block.data(), io::kBlockBytes, std::byte{0});
  encode_segment_header(
      {.file_id = segment->summary.file_id, .id = id, .base = base, .created_us = now_us},
      block.bytes());
  TIDELOG_TRY(segment->file->write_at(FilePosition(0), block.bytes().first(io::kBlockBytes)));
  segment->file_bytes = space;
  return segment;
}

Result<std::shared_ptr<Segment>> create_segment(io::FileSystem& files, const std::string& directory,
                                                const TopicPartition& id, Offset base,
                                                std::int64_t now_us, std::uint64_t space) {
  TIDELOG_ASSIGN(auto segment, create_unsynced_segment(files, directory, id, base, now_us, space));
  if (!broken(Rule::kNewSegmentIsSynced)) TIDELOG_TRY(segment->file->sync_data());
  if (!broken(Rule::kNewSegmentIsNamed)) TIDELOG_TRY(files.sync_directory(directory));
  return segment;
}

Result<OpenedSegment> open_segment(io::FileSystem& files, const TopicPartition& id,
                                   const Segment& segment, std::size_t index_interval,
                                   bool writable) {
  OpenedSegment opened;
  if (!segment.file) {
    const auto mode = writable ? io::OpenMode::kWrite : io::OpenMode::kRead;
    TIDELOG_ASSIGN(opened.file, files.open(segment.path, {.mode = mode, .direct = true}));
  }
  if (segment.index) return opened;
  const SegmentSummary& summary = segment.summary;
  if (const auto bytes = read_whole_file(files, segment.index_path(), kIndexBytesMax)) {
    auto decoded = decode_index(*bytes);
    if (decoded && decoded->summary.file_id == summary.file_id &&
        decoded->summary.end == summary.end && decoded->summary.bytes == summary.bytes) {
      opened.index = std::make_shared<SegmentIndex>(std::move(decoded->index));
      return opened;
    }
  }
  opened.index = std::make_shared<SegmentIndex>();
  io::File& file = opened.file ? *opened.file : *segment.file;
  const Offset trusted(std::numeric_limits<std::int64_t>::max());
  SegmentScanner scanner(file, summary.bytes, summary.file_id, id, trusted);
  SegmentCursor cursor;
  cursor.place.next = summary.base;
  bool jumped = false;
  while (cursor.place.next < summary.end) {
    TIDELOG_ASSIGN(const auto step, scanner.step(cursor, [&](std::uint64_t position,
                                                             const wire::BatchView& batch) {
      opened.index->add(batch, position, std::exchange(jumped, false) ? 0 : index_interval);
    }));
    if (step.whole) continue;
    // What is unsound here is found again, and reported, by whoever reads it; go on behind it.
    TIDELOG_ASSIGN(const auto next, scanner.find_header(cursor.position + io::kBlockBytes));
    if (!next) break;
    cursor.position = next->position;
    cursor.place.next = Offset(static_cast<std::int64_t>(next->first));
    cursor.place.epoch = LeaderEpoch(-1);
    jumped = true;
  }
  return opened;
}

Result<> seal_segment(io::File& file, std::uint64_t file_bytes, std::uint64_t bytes) {
  if (file_bytes != bytes && !broken(Rule::kSealedIsCut)) TIDELOG_TRY(file.truncate(bytes));
  if (broken(Rule::kSealedIsSynced)) return {};
  return file.sync_data();
}

Result<> save_index(io::FileSystem& files, const Segment& segment) {
  const auto content = encode_index(segment.summary, *segment.index, *segment.producers);
  const std::string path = segment.index_path();
  TIDELOG_ASSIGN(const bool exists, files.exists(path));
  TIDELOG_ASSIGN(auto file,
                 files.open(path, {.mode = exists ? io::OpenMode::kWrite : io::OpenMode::kCreate,
                                   .direct = false}));
  TIDELOG_TRY(file->truncate(content.size()));
  return file->write_at(FilePosition(0), content);
}

Result<> save_index_if_possible(io::FileSystem& files, const Segment& segment) {
  const auto saved = save_index(files, segment);
  if (!saved && io::is_final(saved.error())) return saved;
  return {};
}

}  // namespace tidelog::log
