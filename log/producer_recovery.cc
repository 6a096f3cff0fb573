#include "log/producer_recovery.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "log/segment_format.h"
#include "log/segment_scan.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kIndexBytesMax = std::uint64_t{256} << 20;

std::optional<DecodedIndex> read_index(io::FileSystem& files, const std::string& path) {
  const auto bytes = read_whole_file(files, path, kIndexBytesMax);
  if (!bytes) return std::nullopt;
  return decode_index(*bytes);
}

// What the .idx says of the producers behind the segment's end; nullopt on any doubt.
std::optional<ProducerTable> snapshot_of(io::FileSystem& files, const SegmentPlace& segment) {
  auto index = read_index(files, segment.index_path);
  if (!index || index->summary.file_id != segment.summary.file_id ||
      index->summary.end != segment.summary.end) {
    return std::nullopt;
  }
  return std::move(index->producers);
}

// Takes note of the segment's batches below `end`. What is unsound is stepped over, as readers do;
// then false.
Result<bool> apply_segment(io::FileSystem& files, const TopicPartition& id,
                           const SegmentPlace& segment, Offset end, ProducerTable& producers) {
  const SegmentSummary& summary = segment.summary;
  TIDELOG_ASSIGN(auto file,
                 files.open(segment.path, {.mode = io::OpenMode::kRead, .direct = true}));
  const Offset trusted(std::numeric_limits<std::int64_t>::max());
  SegmentScanner scanner(*file, summary.bytes, summary.file_id, id, trusted);
  SegmentCursor cursor;
  cursor.place.next = summary.base;
  bool whole = true;
  while (cursor.place.next < std::min(end, summary.end)) {
    TIDELOG_ASSIGN(const auto step,
                   scanner.step(cursor, [&](std::uint64_t, const wire::BatchView& batch) {
                     producers.apply(batch);
                   }));
    if (step.whole) continue;
    whole = false;
    TIDELOG_ASSIGN(const auto next, scanner.find_header(cursor.position + io::kBlockBytes));
    if (!next) break;
    cursor.position = next->position;
    cursor.sequence = next->sequence - 1;
    cursor.place = {Offset(static_cast<std::int64_t>(next->first)), LeaderEpoch(-1)};
  }
  return whole;
}

}  // namespace

Result<std::optional<ProducerTable>> producers_before(io::FileSystem& files,
                                                      const std::string& directory, Offset base) {
  TIDELOG_ASSIGN(const auto entries, files.list(directory));
  std::optional<Offset> newest;
  for (const io::DirectoryEntry& entry : entries) {
    const auto at = parse_index_file_name(entry.name);
    if (at && *at < base) newest = std::max(newest.value_or(*at), *at);
  }
  if (!newest) return std::nullopt;
  auto index = read_index(files, directory + "/" + index_file_name(*newest));
  if (!index || index->summary.base != *newest || index->summary.end != base) {
    return std::nullopt;
  }
  return std::move(index->producers);
}

Result<FoundProducers> producers_at(io::FileSystem& files, const TopicPartition& id,
                                    const std::vector<SegmentPlace>& segments, Offset end) {
  FoundProducers found;
  ProducerTable& producers = *found.table;
  std::size_t first = segments.size();
  while (first > 0) {
    const SegmentPlace& before = segments[first - 1];
    if (before.summary.end <= end) {
      if (auto snapshot = snapshot_of(files, before)) {
        producers = std::move(*snapshot);
        break;
      }
    }
    --first;
  }
  if (first == 0 && !segments.empty()) {
    TIDELOG_ASSIGN(auto before, producers_before(files, parent_of(segments.front().path),
                                                 segments.front().summary.base));
    if (before) producers = std::move(*before);
  }
  for (; first < segments.size() && segments[first].summary.base < end; ++first) {
    TIDELOG_ASSIGN(const bool whole, apply_segment(files, id, segments[first], end, producers));
    found.whole &= whole;
  }
  return found;
}

}  // namespace tidelog::log
