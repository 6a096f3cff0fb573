// The half of PartitionLogImpl that cuts a log back. First segments get everything, so that the
// log holds no space of the journal (a cut waits for nothing that waits for it) and there is one
// kind of cut. Order that crashes rely on: nothing of the log is under way; the cut is in the
// journal, with the head to keep of the segment write it falls into; later segments go, newest
// first; the write's segment is cut at that write's first block and synced; a checkpoint that knows
// the new end is stable; only then the journal forgets the cut and appends go on.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "log/cut_place.h"
#include "log/io/storage_error.h"
#include "log/partition_log_impl.h"
#include "log/producer_recovery.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

constexpr std::chrono::milliseconds kRetryAfter{100};

struct FoundCut {
  CutPlace place;
  std::shared_ptr<ProducerTable> producers;  // behind the write before it
};

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
  if (!broken(Rule::kCutRemovesIndex)) TIDELOG_TRY(remove(kept->index_path()));
  TIDELOG_TRY(files.sync_directory(directory));
  TIDELOG_ASSIGN(auto file, files.open(kept->path, {.mode = io::OpenMode::kWrite, .direct = true}));
  TIDELOG_TRY(file->truncate(kept->summary.bytes));
  return broken(Rule::kCutIsSynced) ? Result<>() : file->sync_data();
}

}  // namespace

struct PartitionLogImpl::Truncation {
  Offset offset;
  DoneCallback done;
  bool begun = false;
  CutPlace cut;
  std::shared_ptr<ProducerTable> producers;  // behind the write before the cut's
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
  const auto above = [offset](const Hole& hole) { return hole.end > offset; };
  if (std::ranges::any_of(holes_, above)) {
    return answer(fail(ErrorCode::kLostData,
                       fmt::format("{} has lost records above offset {}, which were accepted as "
                                   "lost: it is not cut there",
                                   id_.to_string(), offset.value())));
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

bool PartitionLogImpl::truncation_begun() const { return truncation_ && truncation_->begun; }

bool PartitionLogImpl::target_open() const { return !retired_ && !truncation_begun(); }

void PartitionLogImpl::drop_truncation(const Error& error) {
  if (!truncation_) return;
  context_.environment.executor->post(
      [error, truncation = std::exchange(truncation_, nullptr)] { truncation->done(fail(error)); });
}

void PartitionLogImpl::truncate_when_quiet() {
  if (truncation_->begun || journalling() || destaging() || stable_end_ < tail_->end()) return;
  truncation_->begun = true;
  const auto segment = segments_.find(truncation_->offset);
  TIDELOG_CHECK(segment != nullptr, "a sound log has a segment for each stable offset");
  std::vector<SegmentPlace> places;
  for (const auto& one : segments_.all()) {
    places.push_back({one->path, one->index_path(), one->summary});
  }
  context_.run_blocking<FoundCut>(
      [files = context_.files, path = segment->path, id = id_, summary = segment->summary,
       offset = truncation_->offset, places = std::move(places)]() -> Result<FoundCut> {
        FoundCut found;
        TIDELOG_ASSIGN(found.place, find_cut(*files, path, id, summary, offset));
        TIDELOG_ASSIGN(auto producers, producers_at(*files, id, places, found.place.base));
        found.producers = std::move(producers.table);
        return found;
      },
      [self = shared_from_this(), truncation = truncation_](Result<FoundCut> found) {
        if (self->truncation_ != truncation) return;
        if (!found) return self->truncation_failed(found.error());
        const CutPlace& cut = found->place;
        if (cut.end < self->log_start_) {
          // The log's start lies inside the batch that would go: it would end before it begins.
          return self->truncation_failed(
              Error(ErrorCode::kOffsetOutOfRange,
                    fmt::format(
                        "{} begins at offset {}, inside the batch from offset {} on: it cannot be "
                        "cut at {}",
                        self->id_.to_string(), self->log_start_.value(), cut.end.value(),
                        truncation->offset.value())));
        }
        truncation->cut = std::move(found->place);
        truncation->producers = std::move(found->producers);
        self->truncate_journal(truncation);
      });
}

// Before anything was changed: what could not be read can be asked for again.
void PartitionLogImpl::truncation_failed(const Error& error) {
  const TruncationPtr truncation = std::exchange(truncation_, nullptr);
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
                               if (self->truncation_ != truncation) return;
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
  producers_ = *truncation->producers;
  kept.producers = truncation->producers;
  kept.index_saved_at = 0;
  kept.file.reset();  // it may be open for reading only
  stable_end_ = cut.base;
  for (std::span<const std::byte> rest = cut.head; !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, rest.size());
    TIDELOG_CHECK(batch.has_value(), "the head to keep holds whole batches");
    tail_->append_stamped(*batch);
    producers_.apply(*batch);
    rest = rest.subspan(batch->size());
  }
  tail_->skip_untaken(tail_->end());
  // A chunk of its own: what the journal keeps for it does not wait for later appends.
  tail_->seal();
  if (!broken(Rule::kAppendBehindCut)) cut_end_ = cut.end;
  destage_all_ = false;
  truncate_files(truncation);
}

void PartitionLogImpl::truncate_files(const TruncationPtr& truncation) {
  if (broken(Rule::kCutBeforeAppends)) return truncate_finish(truncation);
  context_.run_blocking<void>(
      [files = context_.files, directory = segments_.directory(), gone = truncation->gone,
       kept = truncation->kept] { return cut_files(*files, directory, gone, kept); },
      [self = shared_from_this(), truncation](Result<> cut) {
        if (self->truncation_ != truncation) return;
        // What stays behind would come back: half a cut is a failed directory.
        if (!cut && io::is_final(cut.error())) return self->context_.fail(cut.error());
        if (!cut) return self->truncate_files_later(truncation);
        self->truncate_finish(truncation);
      });
}

void PartitionLogImpl::truncate_files_later(const TruncationPtr& truncation) {
  if (context_.gives_up()) return;  // the next start cuts them, as the journal says
  context_.check_space();
  context_.environment.executor->run_after(
      kRetryAfter,
      [self = shared_from_this(), truncation, alive = std::weak_ptr<bool>(context_.alive)] {
        if (!alive.expired() && self->truncation_ == truncation) self->truncate_files(truncation);
      });
}

void PartitionLogImpl::truncate_finish(const TruncationPtr& truncation) {
  auto forget_cut = [self = shared_from_this(), truncation] {
    if (self->truncation_ != truncation) return;
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
  };
  if (broken(Rule::kCutIsCheckpointed)) return forget_cut();
  context_.checkpoint(std::move(forget_cut));
}

}  // namespace tidelog::log
