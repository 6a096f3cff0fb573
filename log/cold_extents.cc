// The half of the cold reader that looks at bytes: proving a window, keeping extents, making
// answers.
#include <fmt/core.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/logging.h"
#include "log/batch_walk.h"
#include "log/cold_reader.h"
#include "log/write_header.h"

namespace tidelog::log {
namespace {

// Whether memory may be taken for as much as the batch header in front of `rest` says: rot in it
// must not. True while the header itself is not all there.
bool length_proven(std::span<const std::byte> rest, std::uint64_t seed) {
  constexpr std::size_t kChecksumAt = 88;
  return rest.size() < wire::kBatchHeaderBytes ||
         xxh3_64(rest.first(kChecksumAt), seed) ==
             load_le<std::uint64_t>(rest.data() + kChecksumAt);
}

const Hole* hole_at(const std::vector<Hole>& holes, Offset offset) {
  const auto at = std::ranges::find_if(
      holes, [&](const Hole& hole) { return hole.begin <= offset && offset < hole.end; });
  return at == holes.end() ? nullptr : &*at;
}

}  // namespace

ColdReader::Parsed ColdReader::parse(const Request& request, const SharedBytes& memory,
                                     const Window& window) const {
  const Segment& segment = *request.segment;
  const std::uint64_t seed = wire::batch_seed(request.source->source_id());
  const auto bytes = memory.bytes();
  const std::uint64_t start = window.start;
  std::uint64_t position = window.position;
  const std::uint64_t end = std::min<std::uint64_t>(start + bytes.size(), segment.summary.bytes);
  Parsed parsed;
  Extent& extent = parsed.extent;
  extent.base = extent.next = window.expected;
  const auto corrupt = [&](Offset next, std::string reason) {
    parsed.corrupt = Hole{extent.next, next};
    parsed.reason = fmt::format("byte {}: {}", position, reason);
  };
  // The window ends inside what begins at `position`. What is asked for may begin there, behind
  // smaller batches: an index entry names several.
  const auto need = [&](std::uint64_t until) {
    if (!extent.batches.empty() && request.from < extent.next) return;
    parsed.window_needed = static_cast<std::size_t>(
        align_up(std::min(until, segment.summary.bytes) - start, io::kBlockBytes));
  };
  while (position + 4 <= end && extent.next < segment.summary.end) {
    const auto at = static_cast<std::size_t>(position - start);
    const auto rest = bytes.subspan(at, static_cast<std::size_t>(end - position));
    const auto magic = load_le<std::uint32_t>(rest.data());
    if (magic == 0) {
      position = align_up(position + 1, kSectorBytes);
      continue;
    }
    if (magic == kWriteMagic && position % io::kBlockBytes == 0) {
      position += kWriteHeaderBytes;
      continue;
    }
    const auto batch = wire::BatchView::parse(rest, kStoredBatchBytesMax);
    if (!batch && batch.error().code() == ErrorCode::kEndOfFile && end < segment.summary.bytes &&
        length_proven(rest, seed)) {
      std::uint64_t until = position + wire::kBatchHeaderBytes;
      if (rest.size() >= wire::kBatchHeaderBytes) until += load_le<std::uint32_t>(rest.data() + 16);
      need(until);
      break;
    }
    const bool header = batch && batch->header_sound(seed) && batch->base_offset() == extent.next;
    if (!header) {
      // What fills the last block of a write proves nothing: a torn write may leave anything there.
      const std::uint64_t block = align_up(position, io::kBlockBytes);
      if (block > position && block + kWriteHeaderBytes <= end) {
        const auto write =
            decode_write_header(bytes.subspan(static_cast<std::size_t>(block - start)));
        if (write && write->file_id == segment.summary.file_id && write->position == block &&
            write->first == static_cast<std::uint64_t>(extent.next.value())) {
          position = block;
          continue;
        }
      } else if (block > position && end < segment.summary.bytes) {
        need(block + io::kBlockBytes);
        break;
      }
      const IndexEntry* next = request.index->above(extent.next);
      corrupt(next != nullptr ? next->base : segment.summary.end,
              batch ? "the batch header is damaged" : batch.error().message());
      break;
    }
    if (!batch->records_sound()) {
      corrupt(batch->next_offset(), "the checksum of the records is wrong");
      if (batch->next_offset() > request.from) break;
      // It lies before what is asked for: the extent begins behind it.
      position += batch->size();
      extent.base = extent.next = batch->next_offset();
      extent.batches.clear();
      continue;
    }
    if (const Hole* lost = hole_at(request.source->source_holes(), extent.next)) {
      // Whatever stands there: what was told to be lost is not served by chance.
      if (lost->end > request.from) break;
      position += batch->size();
      extent.base = extent.next = batch->next_offset();
      extent.batches.clear();
      continue;
    }
    extent.batches.push_back({batch->next_offset(), static_cast<std::uint32_t>(at),
                              static_cast<std::uint32_t>(batch->size())});
    extent.next = batch->next_offset();
    position += batch->size();
  }
  if (position + 4 > end && end < segment.summary.bytes && extent.next < segment.summary.end) {
    need(position + wire::kBatchHeaderBytes);
  }
  extent.end_position = position;
  extent.memory = memory;
  if (extent.batches.empty() && !parsed.corrupt && parsed.window_needed == 0) {
    corrupt(segment.summary.end, "the segment ends before its batches do");
  }
  return parsed;
}

Result<ReadResult> ColdReader::refuse(const Request& request) const {
  const auto refused = [&](ErrorCode code, const Hole& range, const char* what) {
    return fail(code,
                fmt::format("offsets {} to {} of {} are {}; the next sound offset is {}",
                            range.begin.value(), range.end.value() - 1,
                            request.source->source_id().to_string(), what, range.end.value()));
  };
  for (const Hole& range : request.source->corrupt_) {
    if (request.from >= range.begin && request.from < range.end) {
      return refused(ErrorCode::kCorruptData, range, "corrupt");
    }
  }
  for (const Hole& range : request.source->source_holes()) {
    if (request.from >= range.begin && request.from < range.end) {
      return refused(ErrorCode::kLostData, range, "lost");
    }
  }
  return fail(ErrorCode::kCorruptData,
              fmt::format("offset {} of {} cannot be found on the disk", request.from.value(),
                          request.source->source_id().to_string()));
}

ReadResult ColdReader::collect(const Request& request, const Extent& extent) const {
  ReadResult result;
  result.base_offset = result.next_offset = request.from;
  auto batch = std::ranges::upper_bound(extent.batches, request.from, {}, &Extent::Batch::next);
  std::size_t piece_start = 0;
  std::size_t piece_end = 0;
  const auto flush = [&] {
    if (piece_end > piece_start) {
      result.pieces.push_back(extent.memory.slice(piece_start, piece_end - piece_start));
    }
  };
  for (; batch != extent.batches.end() && batch->next <= request.limits.up_to; ++batch) {
    const bool first = result.bytes == 0;
    if (result.bytes + batch->bytes > request.limits.bytes_max &&
        !(first && request.limits.at_least_one)) {
      break;
    }
    if (first) {
      result.base_offset = batch == extent.batches.begin() ? extent.base : (batch - 1)->next;
    }
    if (batch->position != piece_end) {
      flush();
      piece_start = batch->position;
    }
    piece_end = batch->position + batch->bytes;
    result.bytes += batch->bytes;
    result.next_offset = batch->next;
  }
  flush();
  return result;
}

void ColdReader::read_ahead(const Request& request, const Extent& extent,
                            const ReadResult& result) {
  if (request.purpose == For::kSearch) return;  // jumps
  const std::int64_t half = (extent.next - extent.base) / 2;
  ColdSource& source = *request.source;
  if (result.next_offset < extent.base + half || source.reading_ahead_) return;
  if (!source.source_segments().find(extent.next)) return;
  if (cached(source, extent.next) != nullptr) return;
  auto ahead = std::make_shared<Request>();
  ahead->source = request.source;
  ahead->from = extent.next;
  ahead->limits = {.up_to = Offset(0), .bytes_max = 0, .at_least_one = false};
  ahead->window = context_.options.cold_read_bytes;
  ahead->cuts = source.cuts_;
  source.reading_ahead_ = extent.next;
  queue_.push_back(std::move(ahead));
  start_next();
}

const ColdReader::Extent* ColdReader::cached(const ColdSource& source, Offset offset) {
  auto it = extents_.upper_bound({&source, offset});
  if (it == extents_.begin()) return nullptr;
  --it;
  if (it->first.first != &source || offset >= it->second.extent.next) return nullptr;
  ages_.splice(ages_.end(), ages_, it->second.age);
  return &it->second.extent;
}

const ColdReader::Extent* ColdReader::ending_at(const ColdSource& source, Offset offset) const {
  auto it = extents_.lower_bound({&source, offset});
  if (it == extents_.begin()) return nullptr;
  --it;
  if (it->first.first != &source || it->second.extent.next != offset) return nullptr;
  return &it->second.extent;
}

const ColdReader::Extent& ColdReader::insert(const ColdSource& source, Extent extent) {
  const Key key{&source, extent.base};
  if (const auto old = extents_.find(key); old != extents_.end()) {
    bytes_ -= old->second.extent.memory.held_bytes();
    ages_.erase(old->second.age);
    extents_.erase(old);
  }
  bytes_ += extent.memory.held_bytes();
  ages_.push_back(key);
  const auto made = extents_.emplace(key, Cached{std::move(extent), std::prev(ages_.end())}).first;
  while (bytes_ > context_.options.read_cache_bytes && ages_.size() > 1) {
    const auto oldest = extents_.find(ages_.front());
    bytes_ -= oldest->second.extent.memory.held_bytes();
    extents_.erase(oldest);
    ages_.pop_front();
  }
  return made->second.extent;
}

void ColdReader::forget(ColdSource& source, Offset offset) {
  ++source.cuts_;
  for (auto it = extents_.lower_bound({&source, Offset(0)});
       it != extents_.end() && it->first.first == &source;) {
    if (it->second.extent.next <= offset) {
      ++it;
      continue;
    }
    bytes_ -= it->second.extent.memory.held_bytes();
    ages_.erase(it->second.age);
    it = extents_.erase(it);
  }
  drop_corrupt(source, [&](const Hole& range) { return range.end > offset; });
}

void ColdReader::start_moved(ColdSource& source, Offset start) {
  drop_corrupt(source, [&](const Hole& range) { return range.end <= start; });
}

template <typename Predicate>
void ColdReader::drop_corrupt(ColdSource& source, Predicate is_over) {
  context_.counters.damaged_ranges -= std::erase_if(source.corrupt_, is_over);
}

void ColdReader::add_corrupt(ColdSource& source, const Hole& range, const std::string& reason) {
  const auto known = std::ranges::find(source.corrupt_, range.begin, &Hole::begin);
  if (known != source.corrupt_.end()) return;
  log_error(fmt::format("offsets {} to {} of {} are corrupt: {}", range.begin.value(),
                        range.end.value() - 1, source.source_id().to_string(), reason));
  const auto behind = std::ranges::upper_bound(source.corrupt_, range.begin, {}, &Hole::begin);
  source.corrupt_.insert(behind, range);
  ++context_.counters.damaged_ranges;
}

}  // namespace tidelog::log
