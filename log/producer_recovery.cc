#include "log/producer_recovery.h"

#include <limits>
#include <optional>
#include <utility>

#include "log/segment_scan.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kIndexBytesMax = std::uint64_t{256} << 20;

// What the .idx says of the producers behind the segment's end; nullopt on any doubt.
std::optional<ProducerTable> snapshot_of(io::FileSystem& files, const SegmentPlace& segment) {
  const auto bytes = read_whole_file(files, segment.index_path, kIndexBytesMax);
  if (!bytes) return std::nullopt;
  auto decoded = decode_index(*bytes);
  if (!decoded || decoded->summary.file_id != segment.summary.file_id ||
      decoded->summary.end != segment.summary.end) {
    return std::nullopt;
  }
  return std::move(decoded->producers);
}

// Takes note of the segment's batches below `end`. What is unsound is stepped over, as readers do.
Result<> apply_segment(io::FileSystem& files, const TopicPartition& id, const SegmentPlace& segment,
                       Offset end, ProducerTable& producers) {
  const SegmentSummary& summary = segment.summary;
  TIDELOG_ASSIGN(auto file,
                 files.open(segment.path, {.mode = io::OpenMode::kRead, .direct = true}));
  const Offset trusted(std::numeric_limits<std::int64_t>::max());
  SegmentScanner scanner(*file, summary.bytes, summary.file_id, id, trusted);
  SegmentCursor cursor;
  cursor.place.next = summary.base;
  while (cursor.place.next < std::min(end, summary.end)) {
    TIDELOG_ASSIGN(const auto step,
                   scanner.step(cursor, [&](std::uint64_t, const wire::BatchView& batch) {
                     producers.apply(batch);
                   }));
    if (step.whole) continue;
    TIDELOG_ASSIGN(const auto next, scanner.find_header(cursor.position + io::kBlockBytes));
    if (!next) break;
    cursor.position = next->position;
    cursor.sequence = next->sequence - 1;
    cursor.place = {Offset(static_cast<std::int64_t>(next->first)), LeaderEpoch(-1)};
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<ProducerTable>> producers_at(io::FileSystem& files, const TopicPartition& id,
                                                    const std::vector<SegmentPlace>& segments,
                                                    Offset end) {
  auto producers = std::make_shared<ProducerTable>();
  std::size_t first = segments.size();
  while (first > 0) {
    const SegmentPlace& before = segments[first - 1];
    if (before.summary.end <= end) {
      if (auto snapshot = snapshot_of(files, before)) {
        *producers = std::move(*snapshot);
        break;
      }
    }
    --first;
  }
  for (; first < segments.size() && segments[first].summary.base < end; ++first) {
    TIDELOG_TRY(apply_segment(files, id, segments[first], end, *producers));
  }
  return producers;
}

}  // namespace tidelog::log
