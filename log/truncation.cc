// The half of PartitionLogImpl that cuts a log back. First segments get everything, so that the
// log holds no space of the journal (a cut waits for nothing that waits for it) and there is one
// kind of cut. Order that crashes rely on: nothing of the log is under way; the cut is in the
// journal, with the head to keep of the segment write it falls into; later segments go, newest
// first; the write's segment is cut at that write's first block and synced; a checkpoint that knows
// the new end is stable; only then the journal forgets the cut and appends go on.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "log/batch_walk.h"
#include "log/file_window.h"
#include "log/partition_log_impl.h"

namespace tidelog::log {
namespace {

// Where a cut falls in the segments.
struct CutPlace {
  std::uint64_t position = 0;   // of the write that holds it
  std::uint64_t sequence = 0;   // of the write before
  Offset base;                  // of that write
  Offset end;                   // the batch boundary at or below the offset asked for
  std::vector<std::byte> head;  // the batches [base, end)
};

// Blocking. Fails with kCorruptData, kStorageFailed.
Result<CutPlace> find_cut(io::FileSystem& files, const std::string& path, const TopicPartition& id,
                          const SegmentSummary& summary, Offset offset) {
  TIDELOG_ASSIGN(auto file, files.open(path, {.mode = io::OpenMode::kRead, .direct = true}));
  FileWindow window(*file, summary.bytes, kChunkBytesMax);
  CutPlace place{
      .position = io::kBlockBytes, .base = summary.base, .end = summary.base, .head = {}};
  std::uint32_t bytes_used = 0;
  for (std::uint64_t at = io::kBlockBytes; at < summary.bytes;) {
    TIDELOG_ASSIGN(const auto front, window.at(at, kWriteHeaderBytes));
    const auto header = decode_write_header(front);
    if (!header || header->file_id != summary.file_id) {
      return fail(ErrorCode::kCorruptData,
                  fmt::format("{} has no write header at byte {}", path, at));
    }
    if (header->first > static_cast<std::uint64_t>(offset.value())) break;
    place.position = at;
    place.sequence = header->sequence - 1;
    place.base = place.end = Offset(static_cast<std::int64_t>(header->first));
    bytes_used = header->bytes_used;
    at += header->disk_bytes();
  }
  TIDELOG_ASSIGN(const auto write, window.at(place.position, bytes_used));
  if (write.size() < bytes_used) {
    return fail(ErrorCode::kCorruptData, fmt::format("{} ends inside a write", path));
  }
  BatchPlace walk{.next = place.base};
  const auto problem = walk_batches(
      write.subspan(kWriteHeaderBytes), place.position + kWriteHeaderBytes, wire::batch_seed(id),
      Offset(0), walk, [&](std::uint64_t, const wire::BatchView& batch) {
        if (batch.next_offset() > offset) return;
        place.head.insert(place.head.end(), batch.bytes().begin(), batch.bytes().end());
        place.end = batch.next_offset();
      });
  if (problem) return fail(ErrorCode::kCorruptData, fmt::format("{}: {}", path, *problem));
  return place;
}

// Blocking: removes `gone`, newest first, then cuts `kept`.
Result<> cut_files(io::FileSystem& files, const std::string& directory,
                   const std::vector<std::shared_ptr<Segment>>& gone,
                   const std::shared_ptr<Segment>& kept) {
  const auto remove = [&](const std::string& path) -> Result<> {
    TIDELOG_ASSIGN(const bool exists, files.exists(path));
    return exists ? files.remove_file(path) : Result<>();
  };
  for (auto segment = gone.rbegin(); segment != gone.rend(); ++segment) {
    TIDELOG_TRY(remove((*segment)->index_path()));
    TIDELOG_TRY(remove((*segment)->path));
    TIDELOG_TRY(files.sync_directory(directory));
  }
  if (!kept) return {};
  TIDELOG_TRY(remove(kept->index_path()));
  TIDELOG_TRY(files.sync_directory(directory));
  TIDELOG_ASSIGN(auto file, files.open(kept->path, {.mode = io::OpenMode::kWrite, .direct = true}));
  TIDELOG_TRY(file->truncate(kept->summary.bytes));
  return file->sync_data();
}

}  // namespace

struct PartitionLogImpl::Truncation {
  Offset offset;
  DoneCallback done;
  bool begun = false;
  CutPlace cut;
  std::uint64_t journal_sequence = 0;
  std::vector<std::shared_ptr<Segment>> gone;
  std::shared_ptr<Segment> kept;
};

void PartitionLogImpl::truncate(Offset offset, DoneCallback done) {
  const auto answer = [&](Result<> result) {
    context_.environment.executor->post(
        [done = std::move(done), result = std::move(result)]() mutable {
          done(std::move(result));
        });
  };
  if (context_.failure) return answer(fail(ErrorCode::kStorageFailed, context_.failure->message()));
  if (retired_ || truncation_ || context_.closing) {
    return answer(fail(ErrorCode::kOverloaded,
                       fmt::format("{} is being truncated, removed or closed", id_.to_string())));
  }
  if (health_ == LogHealth::kLossy) {
    return answer(
        fail(ErrorCode::kLostData,
             fmt::format("{} misses acknowledged records and is never cut", id_.to_string())));
  }
  if (offset < log_start_) {
    return answer(fail(ErrorCode::kOffsetOutOfRange,
                       fmt::format("{} begins at offset {}, it cannot be cut at {}",
                                   id_.to_string(), log_start_.value(), offset.value())));
  }
  if (offset >= tail_->end()) return answer({});
  truncation_ = std::make_shared<Truncation>();
  truncation_->offset = offset;
  truncation_->done = std::move(done);
  destage(true);
}

bool PartitionLogImpl::target_open() const {
  return !retired_ && (!truncation_ || !truncation_->begun);
}

void PartitionLogImpl::drop_truncation() {
  if (!truncation_ || truncation_->begun) return;
  context_.environment.executor->post([id = id_, truncation = std::exchange(truncation_, nullptr)] {
    truncation->done(
        fail(ErrorCode::kUnknownPartition, fmt::format("{} is being removed", id.to_string())));
  });
}

void PartitionLogImpl::truncate_when_quiet() {
  if (truncation_->begun || journalling() || destaging() || stable_end_ < tail_->end()) return;
  truncation_->begun = true;
  const auto segment = segments_.find(truncation_->offset);
  TIDELOG_CHECK(segment != nullptr, "a sound log has a segment for each stable offset");
  context_.run_blocking<CutPlace>(
      [files = context_.files, path = segment->path, id = id_, summary = segment->summary,
       offset = truncation_->offset] { return find_cut(*files, path, id, summary, offset); },
      [self = shared_from_this(), truncation = truncation_](Result<CutPlace> cut) {
        if (!cut) return self->truncation_failed(cut.error());
        truncation->cut = std::move(*cut);
        self->truncate_journal(truncation);
      });
}

void PartitionLogImpl::truncation_failed(const Error& error) {
  const TruncationPtr truncation = std::exchange(truncation_, nullptr);
  if (error.code() == ErrorCode::kStorageFailed) context_.fail(error);
  if (retired_) {
    wait_until_retired();
  } else if (durable_listener_) {
    durable_listener_(durable_end());  // it may have moved meanwhile
  }
  truncation->done(fail(error));
}

void PartitionLogImpl::truncate_journal(const TruncationPtr& truncation) {
  const CutPlace& cut = truncation->cut;
  context_.journal->truncate(*this, cut.base, cut.end, cut.head,
                             [self = shared_from_this(), truncation](std::uint64_t sequence) {
                               truncation->journal_sequence = sequence;
                               self->truncate_in_memory(truncation);
                             });
}

void PartitionLogImpl::truncate_in_memory(const TruncationPtr& truncation) {
  const CutPlace& cut = truncation->cut;
  const std::size_t before = tail_->stable_memory_bytes();
  epochs_.cut(cut.end);
  high_watermark_ = std::min(high_watermark_, cut.end);
  tail_->cut(cut.base);
  context_.tail_cache->forget(before - tail_->stable_memory_bytes());
  context_.cold_reader->forget(*this, cut.base);
  while (!segments_.empty() && segments_.active()->summary.base > cut.base) {
    truncation->gone.insert(truncation->gone.begin(), segments_.active());
    segments_.drop_last();
  }
  truncation->kept = segments_.active();
  Segment& kept = *truncation->kept;
  kept.summary.end = cut.base;
  kept.summary.bytes = kept.file_bytes = cut.position;
  kept.summary.last_sequence = cut.sequence;
  std::erase_if(kept.summary.epochs,
                [&](const EpochStart& epoch) { return epoch.start >= cut.base; });
  kept.summary.last_epoch =
      kept.summary.epochs.empty() ? LeaderEpoch(-1) : kept.summary.epochs.back().epoch;
  if (kept.index) kept.index->cut(cut.base);
  kept.index_saved_at = 0;
  kept.file.reset();  // it may be open for reading only
  stable_end_ = cut.base;
  for (std::span<const std::byte> rest = cut.head; !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, rest.size());
    TIDELOG_CHECK(batch.has_value(), "the head to keep holds whole batches");
    tail_->append_stamped(*batch);
    rest = rest.subspan(batch->size());
  }
  tail_->skip_untaken(tail_->end());
  truncate_files(truncation);
}

void PartitionLogImpl::truncate_files(const TruncationPtr& truncation) {
  context_.run_blocking<void>(
      [files = context_.files, directory = segments_.directory(), gone = truncation->gone,
       kept = truncation->kept] { return cut_files(*files, directory, gone, kept); },
      [self = shared_from_this(), truncation](Result<> cut) {
        // What stays behind would come back: half a cut is a failed directory.
        if (!cut) return self->context_.fail(cut.error());
        self->truncate_finish(truncation);
      });
}

void PartitionLogImpl::truncate_finish(const TruncationPtr& truncation) {
  context_.checkpoint([self = shared_from_this(), truncation] {
    self->context_.journal->release(truncation->journal_sequence);
    // A cut between two writes keeps no head, so nothing would be destaged that frees its entry.
    self->context_.journal->stable(*self, self->stable_end_);
    self->truncation_.reset();
    if (self->retired_) {
      self->wait_until_retired();
    } else {
      self->destage();
    }
    truncation->done({});
  });
}

}  // namespace tidelog::log
