#include "log/destager.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "log/io/storage_error.h"
#include "log/journal.h"
#include "log/open_segments.h"
#include "log/rules.h"
#include "log/write_header.h"
#include "wire/record_batch.h"

namespace tidelog::log {
namespace {

constexpr int kJobsMax = 16;
// A sync takes all that any file wrote to the device with it, and the journal's writes wait for it:
// so a little at a time as long as the journal has room; then as much as gets most out of a sync.
struct Measures {
  std::size_t job_bytes;
  std::uint64_t unsynced_bytes_enough;  // no job begins to write above it
};
constexpr Measures kUnhurried{std::size_t{512} << 10, std::uint64_t{512} << 10};
constexpr Measures kHurried{std::size_t{4} << 20, std::uint64_t{64} << 20};
constexpr std::uint64_t kSpaceStepMin = std::uint64_t{1} << 20;
constexpr std::uint64_t kSpaceStepMax = std::uint64_t{64} << 20;
constexpr std::uint64_t kSpaceShare =
    100;  // at most one hundredth of the free space is taken ahead
constexpr std::chrono::milliseconds kRetryAfter{100};

const Measures& measures(const Journal& journal) {
  return journal.is_nearly_full() ? kHurried : kUnhurried;
}

}  // namespace

struct Destager::Job {
  std::shared_ptr<DestageTarget> target;
  std::shared_ptr<Segment> segment;
  std::shared_ptr<io::File> file;  // of the segment, while it is written
  std::vector<TailChunk*> chunks;  // of this round
  std::size_t writes_left = 0;
  std::uint64_t unsynced_bytes = 0;  // written or being written, until the sync ends
  std::optional<Error> error;
  bool short_of_space = false;
};

void Destager::request(const std::shared_ptr<DestageTarget>& target) {
  if (target->wanted_) return;
  target->wanted_ = true;
  if (target->destaging_) return;  // queued again when the job ends
  queue_.push_back(target);
  start_next();
}

void Destager::request_roll(const std::shared_ptr<DestageTarget>& target) {
  target->roll_wanted_ = true;
  request(target);
}

void Destager::drop_waiting() {
  for (; !queue_.empty(); queue_.pop_front()) queue_.front()->wanted_ = false;
}

void Destager::start_next() {
  while (running_ < kJobsMax && !queue_.empty() && !context_.failure && !context_.gave_up) {
    auto job = std::make_shared<Job>();
    job->target = std::move(queue_.front());
    queue_.pop_front();
    job->target->wanted_ = false;
    job->target->destaging_ = true;
    ++running_;
    step(job);
  }
}

void Destager::finish(const JobPtr& job) {
  space_found(job);
  if (job->error) context_.clean = false;  // a part of what did not arrive may be in the segment
  --running_;
  job->target->destaging_ = false;
  if (job->target->wanted_) queue_.push_back(job->target);
  job->target->destage_ended();
  start_next();
}

void Destager::step(const JobPtr& job) {
  if (context_.failure) return;
  DestageTarget& target = *job->target;
  if (!target.target_open()) return finish(job);
  job->chunks = target.target_tail().destageable(target.target_limit(),
                                                 measures(*context_.journal).job_bytes);
  job->segment = target.target_segments().active();
  if (job->segment && target.roll_wanted_) {
    if (job->segment->summary.end > job->segment->summary.base) {
      const bool open = job->segment->file && job->segment->index;
      return open ? make_segment(job, true) : open_file(job);
    }
  }
  target.roll_wanted_ = false;
  if (job->chunks.empty()) return finish(job);
  if (!job->segment) return make_segment(job, false);
  if (!job->segment->file || !job->segment->index) return open_file(job);
  context_.open_segments->used(job->segment);
  const SegmentSummary& summary = job->segment->summary;
  if (summary.end != job->chunks.front()->base) return make_segment(job, true);

  const std::uint64_t limit = target.target_settings().segment_bytes;
  std::uint64_t end = summary.bytes;
  std::size_t fitting = 0;
  for (const TailChunk* chunk : job->chunks) {
    const bool empty = end == io::kBlockBytes;  // a chunk above the limit has a segment of its own
    if (!empty && end + chunk->disk_bytes() > limit) break;
    end += chunk->disk_bytes();
    ++fitting;
  }
  if (fitting == 0) return make_segment(job, true);
  job->chunks.resize(fitting);
  if (end > job->segment->file_bytes) return take_space(job, end);
  if (unsynced_bytes_ >= measures(*context_.journal).unsynced_bytes_enough) {
    return writers_.push_back(job);
  }
  job->unsynced_bytes = end - summary.bytes;
  unsynced_bytes_ += job->unsynced_bytes;
  write(job);
}

std::uint64_t Destager::space_step(DestageTarget& target, std::uint64_t needed) const {
  const std::uint64_t step =
      target.space_step_ == 0 ? kSpaceStepMin : std::min(target.space_step_ * 2, kSpaceStepMax);
  const std::uint64_t share = context_.free_bytes / kSpaceShare;
  return std::max(needed, align_down(std::min(step, share), io::kBlockBytes));
}

void Destager::make_segment(const JobPtr& job, bool roll) {
  const auto old = roll ? job->segment : nullptr;
  DestageTarget& target = *job->target;
  const Offset base = job->chunks.empty() ? job->segment->summary.end : job->chunks.front()->base;
  std::uint64_t space = std::min<std::uint64_t>(
      space_step(target, 2 * io::kBlockBytes),
      std::max<std::uint64_t>(target.target_settings().segment_bytes, 2 * io::kBlockBytes));
  if (job->chunks.empty()) space = io::kBlockBytes;  // none ahead before there are records
  context_.run_blocking<std::shared_ptr<Segment>>(
      [files = context_.files, old, old_file = old ? old->file : nullptr, base, space,
       id = target.target_id(), directory = target.target_segments().directory(),
       now =
           context_.environment.executor->clock().wall_us()]() -> Result<std::shared_ptr<Segment>> {
        if (old_file) {
          TIDELOG_TRY(seal_segment(*old_file, old->file_bytes, old->summary.bytes));
          TIDELOG_TRY(save_index(*files, *old));
        }
        return create_segment(*files, directory, id, base, now, align_up(space, io::kBlockBytes));
      },
      [this, job](Result<std::shared_ptr<Segment>> made) {
        if (!made) return trouble(job, made.error());
        if (auto old_segment = job->target->target_segments().active()) {
          old_segment->index_saved_at = old_segment->file_bytes = old_segment->summary.bytes;
          (*made)->producers = std::move(old_segment->producers);
        }
        job->target->target_segments().add(*made);
        context_.open_segments->used(*made);
        job->target->segment_made();
        step(job);
      });
}

void Destager::open_file(const JobPtr& job) {
  context_.run_blocking<OpenedSegment>(
      [files = context_.files, id = job->target->target_id(), copy = *job->segment,
       interval = context_.options.index_interval_bytes] {
        return open_segment(*files, id, copy, interval, true);
      },
      [this, job](Result<OpenedSegment> opened) {
        if (!opened) return trouble(job, opened.error());
        if (opened->file && !job->segment->file) job->segment->file = std::move(opened->file);
        if (opened->index && !job->segment->index) job->segment->index = std::move(opened->index);
        context_.open_segments->used(job->segment);
        step(job);
      });
}

void Destager::take_space(const JobPtr& job, std::uint64_t needed) {
  const std::uint64_t from = job->segment->file_bytes;
  const std::uint64_t limit =
      std::max<std::uint64_t>(job->target->target_settings().segment_bytes, needed);
  const std::uint64_t step_bytes = space_step(*job->target, needed - from);
  const std::uint64_t to =
      align_up(std::min<std::uint64_t>(from + step_bytes, limit), io::kBlockBytes);
  job->target->space_step_ = std::clamp(step_bytes, kSpaceStepMin, kSpaceStepMax);
  context_.run_blocking<void>([file = job->segment->file, from,
                               to] { return file->allocate(FilePosition(from), to - from); },
                              [this, job, to](Result<> taken) {
                                if (!taken) return trouble(job, taken.error());
                                job->segment->file_bytes = to;
                                step(job);
                              });
}

void Destager::write(const JobPtr& job) {
  Segment& segment = *job->segment;
  job->file = segment.file;
  std::uint64_t position = segment.summary.bytes;
  std::uint64_t sequence = segment.summary.last_sequence;
  const Offset durable = job->target->target_durable_end();
  job->writes_left = job->chunks.size();
  job->error.reset();
  for (TailChunk* chunk : job->chunks) {
    const std::size_t bytes = chunk->disk_bytes();
    chunk->in_segment_write = true;
    std::fill(chunk->buffer.data() + chunk->used, chunk->buffer.data() + bytes, std::byte{0});
    encode_write_header(
        {.kind = WriteKind::kSegment,
         .file_id = segment.summary.file_id,
         .sequence = ++sequence,
         .bytes_used = static_cast<std::uint32_t>(chunk->used),
         .durable = static_cast<std::uint64_t>(
             (broken(Rule::kPromiseNotAboveOwn) ? durable : std::min(chunk->end, durable)).value()),
         .first = static_cast<std::uint64_t>(chunk->base.value()),
         .position = position},
        chunk->buffer.bytes());
    const std::array<std::span<const std::byte>, 1> pieces{chunk->buffer.bytes().first(bytes)};
    context_.environment.queue->write(
        *job->file, FilePosition(position), pieces, io::Durability::kPlain,
        [this, job, alive = std::weak_ptr<bool>(context_.alive)](const Result<>& result) {
          if (!alive.expired()) written(job, result);
        });
    context_.counters.segment_writes += 1;
    context_.counters.segment_bytes += bytes;
    if (!broken(Rule::kNoOverlap)) position += bytes;
  }
}

void Destager::written(const JobPtr& job, const Result<>& result) {
  if (!result && (!job->error || !io::is_final(*job->error))) {
    job->error = result.error();
  }
  if (--job->writes_left > 0) return;
  if (job->error) {
    settle(job);
    return trouble(job, *job->error);
  }
  if (broken(Rule::kSegmentIsSynced)) {
    settle(job);
    return synced(job);
  }
  context_.environment.queue->sync(
      *job->file, [this, job, alive = std::weak_ptr<bool>(context_.alive)](const Result<>& done) {
        if (alive.expired()) return;
        settle(job);
        if (!done && !broken(Rule::kFailedSyncIsFinal)) return trouble(job, done.error());
        synced(job);
      });
}

void Destager::settle(const JobPtr& job) {
  unsynced_bytes_ -= std::exchange(job->unsynced_bytes, 0);
  while (!writers_.empty() && unsynced_bytes_ < measures(*context_.journal).unsynced_bytes_enough) {
    const JobPtr next = std::move(writers_.front());
    writers_.pop_front();
    step(next);
  }
}

void Destager::synced(const JobPtr& job) {
  Segment& segment = *job->segment;
  for (const TailChunk* chunk : job->chunks) {
    for (std::size_t i = 0; i < chunk->batches.size(); ++i) {
      const std::size_t at = chunk->batches[i];
      const auto batch = wire::BatchView::parse(
          chunk->buffer.bytes().subspan(at, chunk->end_at(i) - at), chunk->buffer.capacity());
      TIDELOG_CHECK(batch.has_value(), "a chunk holds whole batches");
      segment.enter(*batch, segment.summary.bytes + at, context_.options.index_interval_bytes);
    }
    segment.summary.bytes += chunk->disk_bytes();
    segment.summary.last_sequence += 1;
  }
  space_found(job);
  job->target->destaged(segment.summary.end);
  if (segment.summary.bytes - segment.index_saved_at < context_.options.index_save_bytes) {
    return step(job);
  }
  save_index_so_far(job);
}

// Bounds what a start has to scan. Nothing else happens to the segment meanwhile.
void Destager::save_index_so_far(const JobPtr& job) {
  context_.run_blocking<void>(
      [files = context_.files, segment = job->segment] { return save_index(*files, *segment); },
      [this, job](Result<> saved) {
        // Without it the next start scans more; only a failed disk matters.
        if (!saved && io::is_final(saved.error())) return trouble(job, saved.error());
        job->segment->index_saved_at = job->segment->summary.bytes;
        step(job);
      });
}

void Destager::space_found(const JobPtr& job) {
  if (job->short_of_space) --context_.short_of_space;
  job->short_of_space = false;
}

void Destager::trouble(const JobPtr& job, const Error& error) {
  if (io::is_final(error)) return context_.fail(error);
  if (context_.gives_up()) return finish(job);
  if (error.code() == ErrorCode::kStorageFull) {
    if (!job->short_of_space) ++context_.short_of_space;
    job->short_of_space = true;
    context_.check_space();
  }
  // These bytes have offsets: they are written again, as they are, until there is space.
  context_.environment.executor->run_after(
      kRetryAfter, [this, job, alive = std::weak_ptr<bool>(context_.alive)] {
        if (!alive.expired()) step(job);
      });
}

}  // namespace tidelog::log
