#include "log/log_recovery.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "base/bytes.h"
#include "base/check.h"
#include "log/batch_walk.h"
#include "log/segment_filler.h"
#include "log/segment_recovery.h"

namespace tidelog::log {
namespace {

constexpr Offset kNoLimit(std::numeric_limits<std::int64_t>::max());

// Whether `at` is a truncation that was carried out: its place is sound even where its head is not,
// unless the write may have been torn.
bool truncates(const LogEvidence& evidence, const LogEvidence::Entry& at) {
  return at.entry->entry.kind == EntryKind::kTruncate &&
         (at.entry->sound || at.sequence <= evidence.journal_durable);
}

// From where on what segments hold is void: cut, or never promised. A truncation in the journal
// without a later append may not have reached the files: it is done again, from the head that the
// journal kept; with that head damaged, the write that the cut falls into may still have it. A log
// that is LOSSY takes no appends and no cuts, so it ends where it was found to end.
std::optional<Offset> void_from(const LogEvidence& evidence) {
  std::optional<Offset> limit;
  for (const LogEvidence::Entry& at : evidence.entries) {
    if (evidence.clean) break;  // a clean stop waits for each
    const JournalEntry& entry = at.entry->entry;
    if (entry.kind == EntryKind::kAppend) limit.reset();
    if (truncates(evidence, at)) limit = at.entry->sound ? entry.base : entry.next;
  }
  if (evidence.checkpoint && evidence.checkpoint->lossy) {
    limit = std::min(limit.value_or(kNoLimit), evidence.checkpoint->durable_end);
  }
  return limit;
}

// B: the largest end that was promised, truncations taken into account in their order.
Offset promised_end(const LogEvidence& evidence) {
  Offset end(0);
  bool checkpoint_counted = !evidence.checkpoint;
  const auto count_checkpoint = [&] {
    if (!checkpoint_counted) end = std::max(end, evidence.checkpoint->durable_end);
    checkpoint_counted = true;
  };
  for (const LogEvidence::Entry& at : evidence.entries) {
    if (at.sequence > evidence.checkpoint_sequence) count_checkpoint();
    const JournalEntry& entry = at.entry->entry;
    if (entry.kind == EntryKind::kTruncate) {
      if (truncates(evidence, at)) end = entry.next;
      continue;
    }
    end = std::max(end, entry.durable_end);
    if (at.sequence <= evidence.journal_durable) end = std::max(end, entry.next);
  }
  count_checkpoint();
  return end;
}

// Whether something later than each lost journal write names the log's end.
bool confirmed(const LogEvidence& evidence) {
  return std::ranges::all_of(evidence.journal_lost, [&](std::uint64_t lost) {
    if (evidence.checkpoint && evidence.checkpoint_sequence >= lost) return true;
    return std::ranges::any_of(evidence.entries, [&](const LogEvidence::Entry& entry) {
      return entry.durable_before >= lost;
    });
  });
}

class Replay {
 public:
  Replay(const LogEvidence& evidence, Offset end, LeaderEpoch epoch)
      : evidence_(evidence), first_epoch_(epoch), end_(end), epoch_(epoch) {
    // A later truncation makes everything behind it void.
    limits_.assign(evidence.entries.size() + 1, kNoLimit);
    for (std::size_t i = evidence.entries.size(); i > 0; --i) {
      const LogEvidence::Entry& at = evidence.entries[i - 1];
      limits_[i - 1] = limits_[i];
      if (truncates(evidence, at)) {
        limits_[i - 1] = std::min(limits_[i], at.entry->entry.next);
      }
    }
  }

  // Takes every batch that continues the log; with `over_gaps` also what lies behind a gap.
  void run(bool over_gaps) {
    for (std::size_t i = 0; i < evidence_.entries.size(); ++i) {
      const ReplayEntry& entry = *evidence_.entries[i].entry;
      if (!entry.sound || entry.batches.empty()) continue;
      // A truncation's own head ends at its limit; older entries are cut by it.
      const Offset limit = limits_[i];
      const bool complete = evidence_.entries[i].sequence <= evidence_.journal_durable;
      if (entry.entry.base > end_ && (!over_gaps || !complete)) continue;
      if (entry.entry.base > end_) end_ = entry.entry.base;
      if (take(entry, limit)) held_.push_back({evidence_.entries[i].sequence, end_});
    }
  }

  Offset end() const { return end_; }
  // Entries contradict each other: the journal write with the truncation between them is lost.
  bool contradicts() const { return contradicts_; }
  std::uint64_t entries() const { return held_.size(); }
  // The journal writes that the batches come from, and how far each reaches; rising.
  const std::vector<HeldWrite>& held() const { return held_; }
  const std::vector<std::span<const std::byte>>& batches() const { return batches_; }

 private:
  bool take(const ReplayEntry& entry, Offset limit) {
    bool any = false;
    for (auto rest = entry.batches; !rest.empty();) {
      const wire::BatchView batch = parse(rest);
      rest = rest.subspan(batch.size());
      if (batch.next_offset() > limit) continue;
      drop_contradicted(batch);
      if (batch.base_offset() != end_ || batch.leader_epoch() < epoch_) continue;
      batches_.push_back(batch.bytes());
      end_ = batch.next_offset();
      epoch_ = batch.leader_epoch();
      any = true;
    }
    return any;
  }

  // A newer batch in the place of a replayed one that is not the same voids that one and all behind
  // it.
  void drop_contradicted(const wire::BatchView& newer) {
    const auto next_of = [](std::span<const std::byte> batch) {
      return parse(batch).next_offset();
    };
    const auto older = std::ranges::upper_bound(batches_, newer.base_offset(), {}, next_of);
    if (older == batches_.end() || parse(*older).base_offset() > newer.base_offset() ||
        std::ranges::equal(*older, newer.bytes())) {
      return;
    }
    contradicts_ = true;
    end_ = parse(*older).base_offset();
    epoch_ = older == batches_.begin() ? first_epoch_ : parse(*(older - 1)).leader_epoch();
    batches_.erase(older, batches_.end());
  }

  static wire::BatchView parse(std::span<const std::byte> bytes) {
    const auto batch = wire::BatchView::parse(bytes, kStoredBatchBytesMax);
    TIDELOG_CHECK(batch.has_value(), "a sound entry holds whole batches");
    return *batch;
  }

  const LogEvidence& evidence_;
  const LeaderEpoch first_epoch_;
  Offset end_;
  LeaderEpoch epoch_;
  std::vector<Offset> limits_;
  std::vector<std::span<const std::byte>> batches_;
  std::vector<HeldWrite> held_;
  bool contradicts_ = false;
};

// Removes what does not count and cuts the last segment to its end; stable on return.
Result<bool> cut_torn_tail(const LogRecoveryContext& context, const SegmentSearch& search,
                           FoundSegments& found) {
  bool cut = false;
  for (const std::string& path : found.unfinished) {
    const std::string index = path.substr(0, path.size() - 4) + ".idx";
    TIDELOG_ASSIGN(const bool indexed, context.files->exists(index));
    if (indexed) TIDELOG_TRY(context.files->remove_file(index));
    TIDELOG_TRY(context.files->remove_file(path));
    TIDELOG_TRY(context.files->sync_directory(search.directory));
    cut = true;
  }
  if (found.segments.empty()) return cut;
  Segment& last = *found.segments.back();
  // An index that did not count must not fit by chance when the segment has grown again.
  TIDELOG_ASSIGN(const bool indexed, context.files->exists(last.index_path()));
  if (indexed && last.index_saved_at == 0) {
    TIDELOG_TRY(context.files->remove_file(last.index_path()));
    TIDELOG_TRY(context.files->sync_directory(search.directory));
  }
  if (!found.rest_written) return cut;
  TIDELOG_ASSIGN(auto file,
                 context.files->open(last.path, {.mode = io::OpenMode::kWrite, .direct = true}));
  TIDELOG_TRY(file->truncate(last.summary.bytes));
  TIDELOG_TRY(file->sync_data());
  last.file_bytes = last.summary.bytes;
  return true;
}

// What was read may not be stable: the process that wrote it can have been killed before it synced.
// From here on it counts as stable, so it becomes that. True: when the caller has synced the names
// in the directory, too.
Result<bool> make_stable(const LogRecoveryContext& context, const LogEvidence& evidence,
                         const FoundSegments& found) {
  if (evidence.clean) return false;
  const bool truncated = std::ranges::any_of(evidence.entries, [](const LogEvidence::Entry& entry) {
    return entry.entry->entry.kind == EntryKind::kTruncate;
  });
  bool known = evidence.checkpoint && !truncated && found.unfinished.empty();
  if (!found.segments.empty()) {
    // Without space ahead it was cut, or has just been made. All older ones were synced before it
    // was made.
    const Segment& last = *found.segments.back();
    known = known && last.summary.end <= evidence.checkpoint->recovery_point &&
            last.summary.bytes > io::kBlockBytes && last.file_bytes > last.summary.bytes;
    if (known) return false;
    TIDELOG_ASSIGN(auto file,
                   context.files->open(last.path, {.mode = io::OpenMode::kRead, .direct = true}));
    TIDELOG_TRY(file->sync_data());
  }
  return !known;
}

// Where a log goes on that ends at `end`: what a person accepted as lost is behind it.
Offset behind_accepted(const LogEvidence& evidence, Offset end) {
  for (const Hole& hole : evidence.accepted) {
    if (hole.begin <= end && end < hole.end) end = hole.end;
  }
  return end;
}

bool all_accepted(const LogEvidence& evidence, const std::vector<Hole>& holes) {
  return std::ranges::all_of(holes,
                             [&](const Hole& hole) { return covers(evidence.accepted, hole); });
}

// What was accepted as lost stays so, also where less of it is missing now.
void add_accepted(const LogEvidence& evidence, RecoveredLog& log) {
  for (Hole hole : evidence.accepted) {
    if (hole.end <= log.log_start) continue;
    const auto [first, last] = std::ranges::remove_if(log.holes, [&](const Hole& found) {
      if (found.end <= hole.begin || hole.end <= found.begin) return false;
      hole = {std::min(hole.begin, found.begin), std::max(hole.end, found.end)};
      return true;
    });
    log.holes.erase(first, last);
    log.holes.push_back(hole);
  }
}

LeaderEpoch last_epoch(const FoundSegments& found) {
  return found.segments.empty() ? LeaderEpoch(-1) : found.segments.back()->summary.last_epoch;
}

void collect_epochs(RecoveredLog& log) {
  for (const auto& segment : log.segments) {
    for (const EpochStart& epoch : segment->summary.epochs) {
      if (epoch.epoch >= log.epochs.last()) log.epochs.begin(epoch.epoch, epoch.start);
    }
  }
  for (std::span<const std::byte> rest = log.tail; !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, kStoredBatchBytesMax);
    TIDELOG_CHECK(batch.has_value(), "a tail holds whole batches");
    log.epochs.begin(batch->leader_epoch(), batch->base_offset());
    rest = rest.subspan(batch->size());
  }
}

// What replay found stays in the journal; the log gets a copy to serve and destage from.
void keep_tail(const Replay& replay, RecoveredLog& log) {
  for (const auto& batch : replay.batches()) {
    log.tail.insert(log.tail.end(), batch.begin(), batch.end());
  }
  log.held = replay.held();
}

std::string lost_sentence(const TopicPartition& id, Offset end, Offset promised, bool was_lossy) {
  if (end < promised) {
    return fmt::format("{} is LOSSY: offsets {} to {} were acknowledged and are not there",
                       id.to_string(), end.value(), promised.value() - 1);
  }
  if (was_lossy) {
    return fmt::format("{} is LOSSY: an earlier start found that acknowledged records are missing",
                       id.to_string());
  }
  return fmt::format(
      "{} is LOSSY: what was complete is damaged, and nothing later says that the log ended at "
      "offset {}",
      id.to_string(), end.value());
}

}  // namespace

Result<LogRecovery> recover_log(const LogRecoveryContext& context, const TopicPartition& id,
                                std::uint32_t incarnation, const PartitionLogSettings& settings,
                                const LogEvidence& evidence) {
  LogRecovery recovery;
  RecoveredLog& log = recovery.log;
  log.id = id;
  log.incarnation = incarnation;
  SegmentSearch search{
      .files = context.files,
      .directory = context.paths->partition(id),
      .id = id,
      .index_interval = context.index_interval,
      .log_start = evidence.checkpoint ? evidence.checkpoint->log_start : Offset(0),
      .recovery_point = evidence.checkpoint ? evidence.checkpoint->recovery_point : Offset(0),
      .limit = void_from(evidence),
      .accepted = evidence.accepted,
      .clean_end = std::nullopt};
  if (evidence.clean && evidence.checkpoint) search.clean_end = evidence.checkpoint->recovery_point;
  TIDELOG_ASSIGN(FoundSegments found, find_segments(search));
  recovery.problems = found.problems;

  if (evidence.checkpoint) {
    log.log_start = evidence.checkpoint->log_start;
  } else if (!found.segments.empty()) {
    log.log_start = found.segments.front()->summary.base;
  }
  const Offset first =
      found.segments.empty() ? log.log_start : found.segments.front()->summary.base;
  if (first > log.log_start) found.holes.insert(found.holes.begin(), Hole{log.log_start, first});
  // Without segments the journal has all of the log, from the batch on that holds its start: a trim
  // may have put that start inside a batch.
  Offset begin = log.log_start;
  if (evidence.checkpoint) begin = std::min(begin, evidence.checkpoint->recovery_point);
  const Offset segments_end = behind_accepted(
      evidence, found.segments.empty() ? begin : found.segments.back()->summary.end);
  Replay replay(evidence, segments_end, last_epoch(found));
  replay.run(false);

  Offset promised = promised_end(evidence);
  if (found.promised) promised = std::max(promised, *found.promised);
  const bool known = confirmed(evidence);
  const bool was_lossy = evidence.checkpoint && evidence.checkpoint->lossy;
  // A write holds both what was kept and what was cut, and the journal's copy of the former is
  // damaged: it is served as far as it counts, and never written behind.
  const bool half_cut = search.limit && segments_end > *search.limit;
  const bool lossy = !found.directory_exists || !all_accepted(evidence, found.holes) ||
                     replay.end() < promised || !known || replay.contradicts() || was_lossy ||
                     half_cut;
  SegmentFiller filler(*context.files, search.directory, id, settings.segment_bytes,
                       context.index_interval, context.now_us);
  if (lossy) {
    log.health = LogHealth::kLossy;
    recovery.problems.push_back(lost_sentence(id, replay.end(), promised, was_lossy));
    if (!found.directory_exists) {
      TIDELOG_TRY(context.files->make_directories(search.directory));
      TIDELOG_TRY(context.files->sync_directory(context.paths->topic(id.topic)));
      TIDELOG_TRY(context.files->sync_directory(context.paths->root));
    }
    if (replay.batches().empty()) TIDELOG_TRY(find_beyond(search, found));
    TIDELOG_ASSIGN(recovery.names_unsynced, make_stable(context, evidence, found));
    const Offset end = behind_accepted(
        evidence, found.segments.empty() ? begin : found.segments.back()->summary.end);
    Replay rest(evidence, end, LeaderEpoch(-1));
    rest.run(true);
    // Nothing that is there is touched: what the journal adds gets segments of its own.
    TIDELOG_TRY(filler.fill(found.segments, rest.batches(), SegmentFiller::Begin::kNewSegment));
    recovery.entries_replayed = rest.entries();
    std::ranges::copy(filler.problems(), std::back_inserter(recovery.problems));
  } else {
    TIDELOG_ASSIGN(recovery.torn, cut_torn_tail(context, search, found));
    TIDELOG_ASSIGN(recovery.names_unsynced, make_stable(context, evidence, found));
    if (evidence.journal_goes_on) {
      keep_tail(replay, log);
    } else {
      TIDELOG_TRY(
          filler.fill(found.segments, replay.batches(), SegmentFiller::Begin::kLastSegment));
    }
    recovery.entries_replayed = replay.entries();
  }
  log.segments = std::move(found.segments);
  log.retired_files = std::move(found.retired);
  log.holes = std::move(found.holes);
  log.end =
      behind_accepted(evidence, log.segments.empty() ? begin : log.segments.back()->summary.end);
  add_accepted(evidence, log);
  if (lossy && !log.segments.empty()) {
    // What the journal added may begin behind the log's start.
    const Offset base = log.segments.front()->summary.base;
    const Hole before{log.log_start, base};
    if (base > log.log_start && !covers(log.holes, before)) log.holes.push_back(before);
  }
  for (std::size_t i = 1; lossy && i < log.segments.size(); ++i) {
    const Hole between{log.segments[i - 1]->summary.end, log.segments[i]->summary.base};
    if (between.begin < between.end && !covers(log.holes, between)) log.holes.push_back(between);
  }
  if (log.end < promised && lossy) {
    log.holes.push_back({log.end, promised});
    log.end = promised;
  }
  if (half_cut) log.end = std::min(log.end, *search.limit);
  std::ranges::sort(log.holes, {}, &Hole::begin);
  if (log.held.empty()) log.end = std::max(log.end, log.log_start);
  log.stable_end = log.end;
  if (!log.held.empty()) log.end = log.held.back().next;
  collect_epochs(log);
  log.epochs.cut(log.end);
  log.high_watermark =
      std::clamp(evidence.checkpoint ? evidence.checkpoint->high_watermark : log.log_start,
                 log.log_start, log.end);
  return recovery;
}

}  // namespace tidelog::log
