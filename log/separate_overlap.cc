#include "log/separate_overlap.h"

#include <fmt/core.h>

#include <limits>
#include <span>

#include "log/cut_place.h"
#include "log/segment_filler.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kIndexInterval = std::size_t{32} << 10;

// Beside the topics, so that a start looks at nothing half made.
std::string scratch_directory(const DataPaths& paths) { return paths.root + "/repair"; }

Result<> remove_scratch(io::FileSystem& files, const DataPaths& paths) {
  const std::string directory = scratch_directory(paths);
  TIDELOG_ASSIGN(const bool exists, files.exists(directory));
  if (!exists) return {};
  TIDELOG_ASSIGN(const auto entries, files.list(directory));
  for (const io::DirectoryEntry& entry : entries) {
    TIDELOG_TRY(files.remove_file(directory + "/" + entry.name));
  }
  TIDELOG_TRY(files.remove_directory(directory));
  return files.sync_directory(paths.root);
}

// A segment with the batches that stay takes its place in the log, whole or not at all.
Result<> keep_head(io::FileSystem& files, const DataPaths& paths, const TopicPartition& id,
                   const CutPlace& place) {
  const std::string scratch = scratch_directory(paths);
  TIDELOG_TRY(files.make_directories(scratch));
  SegmentFiller filler(files, scratch, id, std::numeric_limits<std::uint64_t>::max(),
                       kIndexInterval, /*now_us=*/0);
  std::vector<std::shared_ptr<Segment>> made;
  std::vector<std::span<const std::byte>> batches;
  for (std::span<const std::byte> rest = place.head; !rest.empty();) {
    TIDELOG_ASSIGN(const auto batch, wire::BatchView::parse(rest, rest.size()));
    batches.push_back(batch.bytes());
    rest = rest.subspan(batch.size());
  }
  TIDELOG_TRY(filler.fill(made, batches, SegmentFiller::Begin::kNewSegment));
  TIDELOG_TRY(
      files.rename(made.front()->path, paths.partition(id) + "/" + segment_file_name(place.base)));
  TIDELOG_TRY(files.sync_directory(paths.partition(id)));
  return files.sync_directory(scratch);
}

// The indexes from here on know producers by what was cut. They go first: once nothing overlaps,
// nobody would look for them.
Result<> remove_indexes(io::FileSystem& files, const std::string& directory,
                        std::span<const std::shared_ptr<Segment>> segments) {
  bool any = false;
  for (const auto& segment : segments) {
    TIDELOG_ASSIGN(const bool indexed, files.exists(segment->index_path()));
    if (indexed) TIDELOG_TRY(files.remove_file(segment->index_path()));
    any |= indexed;
  }
  return any ? files.sync_directory(directory) : Result<>();
}

Result<> separate(io::FileSystem& files, const DataPaths& paths, const TopicPartition& id,
                  const Segment& segment, Offset end) {
  TIDELOG_ASSIGN(const CutPlace place, find_cut(files, segment.path, id, segment.summary, end));
  if (place.end != end) {
    return fail(ErrorCode::kCorruptData,
                fmt::format("{} has no batch that ends at offset {}: what was cut of it cannot be "
                            "told from what was kept",
                            segment.path, end.value()));
  }
  if (!place.head.empty()) TIDELOG_TRY(keep_head(files, paths, id, place));
  // The first write of the file: the new segment has replaced it.
  if (!place.head.empty() && place.base == segment.summary.base) return {};
  TIDELOG_ASSIGN(auto file,
                 files.open(segment.path, {.mode = io::OpenMode::kWrite, .direct = true}));
  TIDELOG_TRY(file->truncate(place.position));
  return file->sync_data();
}

}  // namespace

Result<> separate_overlaps(io::FileSystem& files, const DataPaths& paths, const RecoveredLog& log) {
  TIDELOG_TRY(remove_scratch(files, paths));
  for (std::size_t i = 0; i < log.segments.size(); ++i) {
    const Segment& segment = *log.segments[i];
    const Offset end = i + 1 < log.segments.size() ? log.segments[i + 1]->summary.base : log.end;
    if (segment.summary.end <= end) continue;
    TIDELOG_TRY(remove_indexes(files, paths.partition(log.id), std::span(log.segments).subspan(i)));
    TIDELOG_TRY(separate(files, paths, log.id, segment, end));
  }
  return remove_scratch(files, paths);
}

}  // namespace tidelog::log
