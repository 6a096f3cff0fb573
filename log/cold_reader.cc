#include "log/cold_reader.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/logging.h"
#include "log/batch_walk.h"
#include "log/write_header.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kOpenSegmentsMax = 256;

}  // namespace

void ColdReader::read(std::shared_ptr<ColdSource> source, Offset from, const ReadLimits& limits,
                      PartitionLog::ReadCallback done) {
  auto request = std::make_shared<Request>();
  request->source = std::move(source);
  request->from = from;
  request->limits = limits;
  request->done = std::move(done);
  request->window = context_.options.cold_read_bytes;
  if (const Extent* extent = cached(*request->source, from)) {
    ReadResult result = collect(*request, *extent);
    read_ahead(*request, *extent, result);
    context_.environment.executor->post(
        [request, result = std::move(result)]() mutable { request->done(std::move(result)); });
    return;
  }
  request->cuts = request->source->cuts_;
  queue_.push_back(std::move(request));
  start_next();
}

void ColdReader::start_next() {
  while (running_ < context_.options.cold_reads_in_flight_max && !queue_.empty()) {
    const RequestPtr request = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    request->source->cuts_ == request->cuts ? run(request) : run_after_cut(request);
  }
}

void ColdReader::finish(const RequestPtr& request, Result<ReadResult> result) {
  --running_;
  if (!request->done) request->source->reading_ahead_.reset();
  // Posted, so that nothing runs inside read() and every slot is free before callers go on.
  context_.environment.executor->post([request, result = std::move(result)]() mutable {
    if (request->done) request->done(std::move(result));
  });
  start_next();
}

void ColdReader::run(const RequestPtr& request) {
  ColdSource& source = *request->source;
  if (source.source_gone()) {
    return finish(request, fail(ErrorCode::kUnknownPartition,
                                fmt::format("{} was removed", source.source_id().to_string())));
  }
  if (const Extent* extent = cached(source, request->from)) {
    ReadResult result = collect(*request, *extent);
    if (request->done) read_ahead(*request, *extent, result);
    return finish(request, std::move(result));
  }
  for (const Hole& range : source.corrupt_) {
    if (request->from >= range.begin && request->from < range.end)
      return finish(request, refuse(*request));
  }
  request->segment = source.source_segments().find(request->from);
  request->cuts = source.cuts_;
  if (!request->segment) {
    // Retention may have taken it meanwhile: then the log itself refuses the offset.
    const auto answer = source.source_tail(request->from, request->limits);
    return finish(request, answer && !*answer ? fail(answer->error()) : refuse(*request));
  }
  with_index(request->source, request->segment, [this, request](const Result<>& opened) {
    if (request->source->cuts_ != request->cuts) return run_after_cut(request);
    if (!opened) return finish(request, fail(opened.error()));
    load(request);
  });
}

// What is asked for may be gone, or in the tail, or other records in the same place.
void ColdReader::run_after_cut(const RequestPtr& request) {
  ColdSource& source = *request->source;
  if (request->done && !source.source_gone()) {
    if (auto answer = source.source_tail(request->from, request->limits)) {
      return finish(request, std::move(*answer));
    }
  }
  run(request);
}

void ColdReader::with_index(std::shared_ptr<ColdSource> source, std::shared_ptr<Segment> segment,
                            std::move_only_function<void(Result<>)> done) {
  if (segment->file && segment->index) return done({});
  const bool active = source->source_segments().active() == segment;
  context_.run_blocking<OpenedSegment>(
      [files = context_.files, id = source->source_id(), copy = *segment, active,
       interval = context_.options.index_interval_bytes] {
        return open_segment(*files, id, copy, interval, active);
      },
      [this, source, segment, active, cuts = source->cuts_,
       done = std::move(done)](Result<OpenedSegment> opened) mutable {
        if (source->cuts_ != cuts) {
          return done(fail(ErrorCode::kCancelled,
                           fmt::format("{} was cut meanwhile", source->source_id().to_string())));
        }
        if (!opened) return done(fail(opened.error()));
        if (!segment->file) segment->file = std::move(opened->file);
        if (!segment->index) segment->index = std::move(opened->index);
        if (!active) keep_open(segment);
        done({});
      });
}

// Sealed segments give up handle and index when others need theirs.
void ColdReader::keep_open(const std::shared_ptr<Segment>& segment) {
  open_.push_back(segment);
  if (open_.size() <= kOpenSegmentsMax) return;
  if (const auto oldest = open_.front().lock(); oldest && oldest.use_count() == 2) {
    oldest->file.reset();  // an operation in flight holds the file itself
    oldest->index.reset();
  }
  open_.pop_front();
}

void ColdReader::load(const RequestPtr& request) {
  const Segment& segment = *request->segment;
  std::uint64_t position = io::kBlockBytes;
  Offset expected = segment.summary.base;
  if (const IndexEntry* entry = segment.index->floor(request->from)) {
    position = entry->position;
    expected = entry->base;
  }
  // Whoever reads on starts where the last read ended, not at the index entry before it.
  if (const Extent* before = ending_at(*request->source, request->from);
      before != nullptr && request->from > segment.summary.base) {
    position = before->end_position;
    expected = request->from;
  }
  const std::uint64_t start = align_down(position, io::kBlockBytes);
  const std::uint64_t left = align_up(segment.summary.bytes, io::kBlockBytes) - start;
  const std::size_t window = static_cast<std::size_t>(
      std::min<std::uint64_t>(align_up(request->window, io::kBlockBytes), left));
  auto buffer = std::make_shared<Buffer>(context_.environment.buffers->take(window));
  ++context_.counters.cold_reads;
  context_.environment.queue->read(
      *segment.file, FilePosition(start), buffer->bytes().first(window),
      [this, request, buffer, start, position, expected, file = segment.file,
       alive = std::weak_ptr<bool>(context_.alive)](const Result<std::size_t>& read) {
        if (alive.expired()) return;
        if (request->source->cuts_ != request->cuts) return run_after_cut(request);
        if (!read) return finish(request, fail(read.error()));
        loaded(request, std::move(*buffer).freeze(*read), start, position, expected);
      });
}

void ColdReader::loaded(const RequestPtr& request, SharedBytes memory, std::uint64_t start,
                        std::uint64_t position, Offset expected) {
  ColdSource& source = *request->source;
  if (source.source_gone()) return run(request);
  Parsed parsed = parse(*request, memory, start, position, expected);
  if (parsed.window_needed > request->window) {
    request->window = parsed.window_needed;
    return run(request);  // the segment may have been closed meanwhile
  }
  if (parsed.corrupt) {
    add_corrupt(source, *parsed.corrupt,
                fmt::format("{}: {}", request->segment->path, parsed.reason));
  }
  if (parsed.extent.batches.empty() || request->from >= parsed.extent.next) {
    return finish(request, refuse(*request));
  }
  const Extent& extent = insert(source, std::move(parsed.extent));
  ReadResult result = collect(*request, extent);
  if (request->done) read_ahead(*request, extent, result);
  finish(request, std::move(result));
}

}  // namespace tidelog::log
