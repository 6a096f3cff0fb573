#include "log/cold_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/logging.h"
#include "log/batch_walk.h"
#include "log/file_window.h"
#include "log/open_segments.h"
#include "log/write_header.h"

namespace tidelog::log {
void ColdReader::read(std::shared_ptr<ColdSource> source, Offset from, const ReadLimits& limits,
                      PartitionLog::ReadCallback done, For purpose) {
  auto request = std::make_shared<Request>();
  request->source = std::move(source);
  request->from = from;
  request->limits = limits;
  request->done = std::move(done);
  request->purpose = purpose;
  request->window = context_.options.cold_read_bytes;
  if (const Extent* extent = cached(*request->source, from)) {
    ReadResult result = collect(*request, *extent);
    read_ahead(*request, *extent, result);
    context_.environment.executor->post(
        [request, result = std::move(result)]() mutable { request->done(std::move(result)); });
    return;
  }
  request->cuts = request->source->cuts_;
  (purpose == For::kSearch ? searches_ : queue_).push_back(std::move(request));
  start_next();
}

ColdReader::RequestPtr ColdReader::take_next() {
  if (running_ >= context_.options.cold_reads_in_flight_max) return nullptr;
  const bool may_search = !searches_.empty() && !searching_;
  if (!may_search && queue_.empty()) return nullptr;
  searched_last_ = may_search && (queue_.empty() || !searched_last_);
  searching_ = searching_ || searched_last_;
  Fifo<RequestPtr>& line = searched_last_ ? searches_ : queue_;
  RequestPtr request = std::move(line.front());
  line.pop_front();
  return request;
}

void ColdReader::start_next() {
  // What ends at once asks for the next one: from here, not from within, however many wait.
  if (std::exchange(starting_, true)) return;
  while (const RequestPtr request = take_next()) {
    ++running_;
    request->source->cuts_ == request->cuts ? run(request) : run_after_cut(request);
  }
  starting_ = false;
}

void ColdReader::finish(const RequestPtr& request, Result<ReadResult> result) {
  --running_;
  if (request->purpose == For::kSearch) searching_ = false;
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
  for (const std::vector<Hole>* ranges :
       {&std::as_const(source.corrupt_), &source.source_holes()}) {
    for (const Hole& range : *ranges) {
      if (request->from >= range.begin && request->from < range.end)
        return finish(request, refuse(*request));
    }
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
  if (segment->file && segment->index) {
    context_.open_segments->used(segment);
    return done({});
  }
  const bool active = !segment->sealed;
  context_.run_blocking<OpenedSegment>(
      [files = context_.files, id = source->source_id(), copy = *segment, active,
       interval = context_.options.index_interval_bytes] {
        return open_segment(*files, id, copy, interval, active);
      },
      [this, source, segment, cuts = source->cuts_,
       done = std::move(done)](Result<OpenedSegment> opened) mutable {
        if (source->cuts_ != cuts) {
          return done(fail(ErrorCode::kCancelled,
                           fmt::format("{} was cut meanwhile", source->source_id().to_string())));
        }
        if (!opened) return done(fail(opened.error()));
        if (!segment->file) segment->file = std::move(opened->file);
        if (!segment->index) segment->index = std::move(opened->index);
        context_.open_segments->used(segment);
        done({});
      });
}

void ColdReader::load(const RequestPtr& request) {
  const Segment& segment = *request->segment;
  request->file = segment.file;
  request->index = segment.index;
  Window window;
  window.position = io::kBlockBytes;
  window.expected = segment.summary.base;
  if (const IndexEntry* entry = segment.index->floor(request->from)) {
    window.position = entry->position;
    window.expected = entry->base;
  }
  // Whoever reads on starts where the last read ended, not at the index entry before it.
  if (const Extent* before = ending_at(*request->source, request->from);
      before != nullptr && request->from > segment.summary.base) {
    window.position = before->end_position;
    window.expected = request->from;
  }
  window.start = align_down(window.position, io::kBlockBytes);
  const std::uint64_t left = align_up(segment.summary.bytes, io::kBlockBytes) - window.start;
  window.bytes = static_cast<std::size_t>(
      std::min<std::uint64_t>(align_up(request->window, io::kBlockBytes), left));
  window.buffer = std::make_shared<Buffer>(context_.environment.buffers->take(window.bytes));
  ++context_.counters.cold_reads;
  context_.environment.queue->read(
      *request->file, FilePosition(window.start), window.buffer->bytes().first(window.bytes),
      [this, request, window,
       alive = std::weak_ptr<bool>(context_.alive)](const Result<std::size_t>& read) {
        if (alive.expired()) return;
        if (request->source->cuts_ != request->cuts) return run_after_cut(request);
        if (!read) return read_around(request, window, read.error());
        loaded(request, std::move(*window.buffer).freeze(*read), window);
      });
}

void ColdReader::read_around(const RequestPtr& request, Window window, const Error& error) {
  context_.run_blocking<std::size_t>(
      [file = request->file, window, error]() -> Result<std::size_t> {
        const auto bytes = window.buffer->bytes().first(window.bytes);
        TIDELOG_ASSIGN(const std::size_t read,
                       read_around_damage(*file, FilePosition(window.start), bytes));
        // Rot takes blocks. Where nothing can be read the device may come back.
        const auto unreadable = [](std::byte byte) { return byte == kUnreadableByte; };
        if (std::ranges::all_of(bytes.first(read), unreadable)) return fail(error);
        return read;
      },
      [this, request, window](Result<std::size_t> read) {
        if (request->source->cuts_ != request->cuts) return run_after_cut(request);
        if (!read) return finish(request, fail(read.error()));
        loaded(request, std::move(*window.buffer).freeze(*read), window);
      });
}

void ColdReader::loaded(const RequestPtr& request, SharedBytes memory, const Window& window) {
  ColdSource& source = *request->source;
  if (source.source_gone()) return run(request);
  Parsed parsed = parse(*request, memory, window);
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
