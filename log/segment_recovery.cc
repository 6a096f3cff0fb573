#include "log/segment_recovery.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/buffer_pool.h"
#include "log/producer_recovery.h"
#include "log/rules.h"
#include "log/segment_scan.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kIndexBytesMax = std::uint64_t{256} << 20;

struct OpenSegment {
  std::shared_ptr<Segment> segment;
  std::unique_ptr<io::File> file;
  bool header_sound = false;
  bool header_unreadable = false;
};

Result<OpenSegment> open_found(const SegmentSearch& search, Offset base) {
  OpenSegment open;
  open.segment = std::make_shared<Segment>();
  Segment& segment = *open.segment;
  segment.path = search.directory + "/" + segment_file_name(base);
  TIDELOG_ASSIGN(open.file,
                 search.files->open(segment.path, {.mode = io::OpenMode::kRead, .direct = true}));
  TIDELOG_ASSIGN(segment.file_bytes, open.file->size());
  Buffer block = Buffer::allocate(io::kBlockBytes);
  TIDELOG_ASSIGN(const std::size_t read, read_around_damage(*open.file, FilePosition(0),
                                                            block.bytes().first(io::kBlockBytes)));
  const auto header = decode_segment_header(block.bytes().first(read));
  open.header_unreadable =
      read > 0 && std::ranges::all_of(block.bytes().first(read),
                                      [](std::byte byte) { return byte == kUnreadableByte; });
  open.header_sound = header && header->id == search.id && header->base == base;
  segment.summary.file_id = open.header_sound ? header->file_id : 0;
  segment.created_us = open.header_sound ? header->created_us : 0;
  segment.summary.base = segment.summary.end = base;
  segment.summary.bytes = io::kBlockBytes;
  return open;
}

// Takes over what a sound .idx says. False: there is none.
bool load_index(const SegmentSearch& search, Segment& segment) {
  const auto bytes = read_whole_file(*search.files, segment.index_path(), kIndexBytesMax);
  if (!bytes) return false;
  auto decoded = decode_index(*bytes);
  if (!decoded ||
      (decoded->summary.file_id != segment.summary.file_id && !broken(Rule::kIndexFileIdCounts)) ||
      decoded->summary.base != segment.summary.base ||
      decoded->summary.bytes > segment.file_bytes ||
      (search.limit && decoded->summary.end > *search.limit)) {
    return false;
  }
  segment.summary = std::move(decoded->summary);
  segment.index = std::make_shared<SegmentIndex>(std::move(decoded->index));
  segment.producers = std::make_shared<ProducerTable>(std::move(decoded->producers));
  segment.index_saved_at = segment.summary.bytes;
  return true;
}

class Scan {
 public:
  Scan(const SegmentSearch& search, OpenSegment& open)
      : search_(search),
        segment_(*open.segment),
        scanner_(*open.file, open.segment->file_bytes, open.segment->summary.file_id, search.id,
                 search.recovery_point) {
    if (!segment_.index) segment_.index = std::make_shared<SegmentIndex>();
    cursor_.position = segment_.summary.bytes;
    cursor_.sequence = segment_.summary.last_sequence;
    cursor_.place = {segment_.summary.end, segment_.summary.last_epoch};
  }

  const SegmentCursor& cursor() const { return cursor_; }

  // Reads whole writes until one is not. Returns why it stopped; empty where nothing more was
  // written.
  Result<std::string> run() {
    const BatchVisitor visit = [&](std::uint64_t position, const wire::BatchView& batch) {
      // What follows a gap is found by an entry of its own.
      segment_.enter(batch, position, std::exchange(jumped_, false) ? 0 : search_.index_interval);
    };
    while (true) {
      if (search_.limit && cursor_.place.next >= *search_.limit) return std::string();
      TIDELOG_ASSIGN(const auto step, scanner_.step(cursor_, visit));
      if (!step.whole) return step.problem;
      segment_.summary.bytes = cursor_.position;
      segment_.summary.last_sequence = cursor_.sequence;
    }
  }

  // Jumps to the next sound write behind the cursor that does not go back. False: there is none.
  Result<bool> skip_ahead() {
    std::uint64_t position = cursor_.position;
    while (true) {
      TIDELOG_ASSIGN(const auto next, scanner_.find_header(position));
      if (!next) return false;
      position = next->position + io::kBlockBytes;
      if (next->first < static_cast<std::uint64_t>(cursor_.place.next.value())) continue;
      if (search_.limit && next->first >= static_cast<std::uint64_t>(search_.limit->value())) {
        continue;
      }
      SegmentCursor there{next->position,
                          cursor_.sequence,
                          {Offset(static_cast<std::int64_t>(next->first)), cursor_.place.epoch}};
      SegmentCursor probe = there;
      TIDELOG_ASSIGN(const auto step, scanner_.step(probe, nullptr));
      if (!step.whole) continue;
      cursor_ = there;
      segment_.summary.end = there.place.next;
      jumped_ = true;
      return true;
    }
  }

  // Goes on behind a loss that was accepted and begins here. Nullopt: there is none, or nothing in
  // this file behind it.
  Result<std::optional<Hole>> skip_accepted() {
    const auto lost = std::ranges::find(search_.accepted, segment_.summary.end, &Hole::begin);
    if (lost == search_.accepted.end()) return std::nullopt;
    const SegmentCursor before = cursor_;
    TIDELOG_ASSIGN(const bool more, skip_ahead());
    if (more && segment_.summary.end <= lost->end) return Hole{lost->begin, segment_.summary.end};
    cursor_ = before;
    segment_.summary.end = lost->begin;
    return std::nullopt;
  }

  // The highest durable end that sound headers from the cursor on name; and whether anything was
  // written there.
  Result<> look_ahead(FoundSegments& found) {
    TIDELOG_ASSIGN(found.rest_written, scanner_.written_from(cursor_.position));
    for (std::uint64_t position = cursor_.position; found.rest_written;) {
      TIDELOG_ASSIGN(const auto next, scanner_.find_header(position));
      if (!next) break;
      if (!broken(Rule::kSegmentHeadersPromise)) {
        promise(found, Offset(static_cast<std::int64_t>(next->durable)));
      }
      position = next->position + io::kBlockBytes;
    }
    return {};
  }

  static void promise(FoundSegments& found, Offset end) {
    if (!found.promised || end > *found.promised) found.promised = end;
  }

 private:
  const SegmentSearch& search_;
  Segment& segment_;
  SegmentScanner scanner_;
  SegmentCursor cursor_;
  bool jumped_ = false;
};

// A segment that is followed by another one: all of it was synced before the next one was made.
Result<> add_sealed(const SegmentSearch& search, OpenSegment& open, FoundSegments& found) {
  Segment& segment = *open.segment;
  const bool indexed = load_index(search, segment);
  Scan scan(search, open);
  if (!indexed || segment.summary.bytes != segment.file_bytes) {
    bool sound = true;
    while (true) {
      TIDELOG_ASSIGN(const auto problem, scan.run());
      if (problem.empty()) break;
      sound = false;
      found.problems.push_back(fmt::format("{}: {}", segment.path, problem));
      // Whoever reads there is refused that range only; the log itself is sound.
      TIDELOG_ASSIGN(const bool more, scan.skip_ahead());
      if (!more) break;
    }
    segment.summary.bytes = segment.file_bytes;
    // Spares the next start the scan, and keeps the producers when the segment goes. A damaged one
    // is to be found, and told, each time.
    if (sound && !search.limit) TIDELOG_TRY(save_index_if_possible(*search.files, segment));
  }
  Scan::promise(found, segment.summary.end);
  segment.index.reset();  // loaded again by whoever reads here
  found.segments.push_back(open.segment);
  return {};
}

// The newest, which may end anywhere.
Result<> add_last(const SegmentSearch& search, OpenSegment& open, FoundSegments& found) {
  Segment& segment = *open.segment;
  found.segments.push_back(open.segment);
  const bool indexed = load_index(search, segment);
  if (indexed && search.clean_end == segment.summary.end) return {};
  Scan scan(search, open);
  while (true) {
    TIDELOG_TRY(scan.run());  // why it ended: the tail of the last segment may be torn
    TIDELOG_ASSIGN(const auto lost, scan.skip_accepted());
    if (!lost) break;
    found.holes.push_back(*lost);
  }
  Scan::promise(found, segment.summary.end);
  if (!search.limit) return scan.look_ahead(found);
  if (segment.file_bytes > segment.summary.bytes) found.rest_written = true;
  return {};
}

Result<bool> holds_writes(const OpenSegment& open) {
  FileWindow window(*open.file, open.segment->file_bytes, std::size_t{1} << 20,
                    Unreadable::kIsUnsound);
  for (std::uint64_t at = window.next_data(io::kBlockBytes); at < open.segment->file_bytes;
       at = window.next_data(at + io::kBlockBytes)) {
    TIDELOG_ASSIGN(const auto block, window.at(at, kWriteHeaderBytes));
    if (decode_write_header(block)) return true;
  }
  return false;
}

// Takes from the end of `bases` what counts for nothing: a file whose making a crash cut short, or
// one that a truncation is about to remove.
Result<> drop_unfinished(const SegmentSearch& search, std::vector<Offset>& bases,
                         FoundSegments& found) {
  for (; !bases.empty(); bases.pop_back()) {
    TIDELOG_ASSIGN(const OpenSegment last, open_found(search, bases.back()));
    const Offset base = bases.back();
    const bool beyond_limit = search.limit && base >= *search.limit;
    if (last.header_sound && !beyond_limit) return {};
    bool kept = false;
    if (!last.header_sound && !beyond_limit) {
      TIDELOG_ASSIGN(const bool writes, holds_writes(last));
      kept = writes || last.header_unreadable;  // nobody knows what it holds
    }
    if (kept) {
      found.problems.push_back(fmt::format("{}: the first block is damaged", last.segment->path));
      found.holes.push_back({base, base + 1});
      Scan::promise(found, base + 1);
    } else {
      found.unfinished.push_back(last.segment->path);
    }
  }
  return {};
}

// What `retired` segments, and those before them, say of the producers of a log that begins at
// `first` now. A crash may have come before the last one's index was stable; then nothing was taken
// from its segment yet, and the index is written once more, to stay.
Result<std::shared_ptr<ProducerTable>> retired_producers(const SegmentSearch& search,
                                                         std::span<const Offset> retired,
                                                         Offset first) {
  TIDELOG_ASSIGN(auto known, producers_before(*search.files, search.directory, first));
  if (known) return std::make_shared<ProducerTable>(std::move(*known));
  std::vector<SegmentPlace> places;
  std::shared_ptr<Segment> last;
  for (std::size_t i = 0; i < retired.size(); ++i) {
    TIDELOG_ASSIGN(const OpenSegment one, open_found(search, retired[i]));
    if (!one.header_sound) return std::make_shared<ProducerTable>();
    last = one.segment;
    last->summary.end = i + 1 < retired.size() ? retired[i + 1] : first;
    last->summary.bytes = last->file_bytes;
    places.push_back({last->path, last->index_path(), last->summary});
  }
  if (!last) return std::make_shared<ProducerTable>();
  TIDELOG_ASSIGN(const FoundProducers found, producers_at(*search.files, search.id, places, first));
  if (!found.whole) return std::make_shared<ProducerTable>();
  last->producers = found.table;
  last->index = std::make_shared<SegmentIndex>();  // nobody reads there
  TIDELOG_TRY(save_index_if_possible(*search.files, *last));
  return found.table;
}

}  // namespace

Result<FoundSegments> find_segments(const SegmentSearch& search) {
  FoundSegments found;
  TIDELOG_ASSIGN(found.directory_exists, search.files->exists(search.directory));
  if (!found.directory_exists) return found;
  TIDELOG_ASSIGN(const auto entries, search.files->list(search.directory));
  std::vector<Offset> bases;
  for (const io::DirectoryEntry& entry : entries) {
    if (const auto base = parse_segment_file_name(entry.name)) bases.push_back(*base);
  }
  // Whatever is left of files that lie below the log's start: none of it counts.
  std::size_t below = 0;
  while (below + 1 < bases.size() && bases[below + 1] <= search.log_start) ++below;
  std::vector<Offset> retired(bases.begin(), bases.begin() + static_cast<std::ptrdiff_t>(below));
  bases.erase(bases.begin(), bases.begin() + static_cast<std::ptrdiff_t>(below));
  TIDELOG_TRY(drop_unfinished(search, bases, found));
  // The write that a cut fell into begins below the log's start. What was kept of it comes from the
  // journal again, and begins there.
  for (; search.limit && !retired.empty() && retired.back() >= *search.limit; retired.pop_back()) {
    found.unfinished.push_back(search.directory + "/" + segment_file_name(retired.back()));
  }
  bool below_start = false;
  if (bases.empty() && !retired.empty() && found.holes.empty()) {
    // The crash came while the segment behind it was made: it is the last one, and nothing of it
    // was taken yet. The log's end and its producers are in it.
    bases.push_back(retired.back());
    retired.pop_back();
    below_start = true;
  }
  for (const Offset base : retired) {
    found.retired.push_back(search.directory + "/" + segment_file_name(base));
  }
  // Each segment begins with the producers of the one before, which needs them no longer.
  auto producers = std::make_shared<ProducerTable>();
  if (!bases.empty()) {
    TIDELOG_ASSIGN(producers, retired_producers(search, retired, bases.front()));
  }
  for (std::size_t i = 0; i < bases.size(); ++i) {
    TIDELOG_ASSIGN(OpenSegment one, open_found(search, bases[i]));
    if (!one.header_sound) {
      found.problems.push_back(fmt::format("{}: the first block is damaged", one.segment->path));
      continue;  // its range becomes a hole below
    }
    if (!found.segments.empty()) {
      const Offset end = found.segments.back()->summary.end;
      if (end < one.segment->summary.base) found.holes.push_back({end, one.segment->summary.base});
    }
    one.segment->producers = std::move(producers);  // unless its index knows better
    if (i + 1 == bases.size()) {
      TIDELOG_TRY(add_last(search, one, found));
      break;
    }
    TIDELOG_TRY(add_sealed(search, one, found));
    producers = std::move(one.segment->producers);
  }
  const Offset due = std::min(search.log_start, search.recovery_point);
  if (below_start && !found.segments.empty() && found.segments.back()->summary.end < due) {
    // Others lay behind it, and have gone, all below the log's start: it has nothing of the log.
    found.unfinished.push_back(found.segments.back()->path);
    found.segments.clear();
    found.promised.reset();
    found.rest_written = false;
  }
  return found;
}

Result<> find_beyond(const SegmentSearch& search, FoundSegments& found) {
  if (found.segments.empty()) return {};
  OpenSegment last{found.segments.back(), nullptr, true};
  TIDELOG_ASSIGN(last.file, search.files->open(last.segment->path,
                                               {.mode = io::OpenMode::kRead, .direct = true}));
  Scan scan(search, last);
  while (true) {
    const Offset before = last.segment->summary.end;
    TIDELOG_ASSIGN(const bool more, scan.skip_ahead());
    if (!more) return {};
    if (last.segment->summary.end > before)
      found.holes.push_back({before, last.segment->summary.end});
    TIDELOG_TRY(scan.run());
  }
}

}  // namespace tidelog::log
