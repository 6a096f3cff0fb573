#include "log/log_recovery.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "log/batch_walk.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

// Removes what does not count and cuts the last segment to its end; stable on return.
Result<bool> cut_torn_tail(const LogRecoveryContext& context, const SegmentSearch& search,
                           FoundSegments& found) {
  bool cut = false;
  for (const std::string& path : found.unfinished) {
    if (broken(Rule::kUnfinishedGoes)) break;
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
  if (indexed && last.index_saved_at == 0 && !broken(Rule::kUncountedIndexGoes)) {
    TIDELOG_TRY(context.files->remove_file(last.index_path()));
    TIDELOG_TRY(context.files->sync_directory(search.directory));
  }
  if (!found.rest_written || broken(Rule::kTornTailIsCut)) return cut;
  TIDELOG_ASSIGN(auto file,
                 context.files->open(last.path, {.mode = io::OpenMode::kWrite, .direct = true}));
  TIDELOG_TRY(file->truncate(last.summary.bytes));
  TIDELOG_TRY(file->sync_data());
  last.file_bytes = last.summary.bytes;
  return true;
}

// Whether what was read may not be stable: the process that wrote it can have been killed before it
// synced. From here on it counts as stable, so it has to become that.
bool is_unsynced(const LogEvidence& evidence, const FoundSegments& found) {
  if (evidence.clean) return false;
  const bool truncated = std::ranges::any_of(evidence.entries, [](const LogEvidence::Entry& entry) {
    return entry.entry->entry.kind == EntryKind::kTruncate;
  });
  const bool known = evidence.checkpoint && !truncated && found.unfinished.empty();
  if (!known || found.segments.empty()) return !known;
  // Without space ahead it was cut, or has just been made. All older ones were synced before it was
  // made.
  const Segment& last = *found.segments.back();
  return last.summary.end > evidence.checkpoint->recovery_point ||
         last.summary.bytes <= io::kBlockBytes || last.file_bytes <= last.summary.bytes;
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
void keep_tail(const EntryReplay& replay, RecoveredLog& log) {
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

SegmentSearch search_for(const LogRecoveryContext& context, const TopicPartition& id,
                         const LogEvidence& evidence) {
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
  return search;
}

}  // namespace

LogRecoverer::LogRecoverer(const LogRecoveryContext& context, const TopicPartition& id,
                           std::uint32_t incarnation, const PartitionLogSettings& settings,
                           LogEvidence evidence)
    : context_(context),
      settings_(settings),
      evidence_(std::move(evidence)),
      search_(search_for(context, id, evidence_)),
      filler_(*context.files, search_.directory, id, settings.segment_bytes, context.index_interval,
              context.now_us) {
  recovery_.log.id = id;
  recovery_.log.incarnation = incarnation;
}

Offset LogRecoverer::segments_end() const {
  return behind_accepted(evidence_,
                         found_.segments.empty() ? begin_ : found_.segments.back()->summary.end);
}

Result<> LogRecoverer::find() {
  TIDELOG_ASSIGN(found_, find_segments(search_));
  recovery_.problems = found_.problems;
  RecoveredLog& log = recovery_.log;
  if (evidence_.checkpoint) {
    log.log_start = evidence_.checkpoint->log_start;
  } else if (!found_.segments.empty()) {
    log.log_start = found_.segments.front()->summary.base;
  }
  const Offset first =
      found_.segments.empty() ? log.log_start : found_.segments.front()->summary.base;
  if (first > log.log_start) found_.holes.insert(found_.holes.begin(), Hole{log.log_start, first});
  // Without segments the journal has all of the log, from the batch on that holds its start: a trim
  // may have put that start inside a batch.
  begin_ = log.log_start;
  if (evidence_.checkpoint) begin_ = std::min(begin_, evidence_.checkpoint->recovery_point);
  // A cut in the first segment leaves none: what was kept is in the journal, from there on.
  if (search_.limit) begin_ = std::min(begin_, *search_.limit);
  return {};
}

// What ends at or below the segments' end adds nothing.
std::vector<LogEvidence::Entry*> LogRecoverer::wanted() {
  std::vector<LogEvidence::Entry*> wanted;
  for (LogEvidence::Entry& at : evidence_.entries) {
    const JournalEntry& entry = at.entry->entry;
    if (at.entry->sound && entry.length > 0 && entry.next > segments_end()) wanted.push_back(&at);
  }
  return wanted;
}

// Compares what is there with what was promised.
void LogRecoverer::judge() {
  replay_ = std::make_unique<EntryReplay>(evidence_, segments_end(), last_epoch(found_));
  replay_->run(false);
  promised_ = promised_end(evidence_);
  if (found_.promised) promised_ = std::max(promised_, *found_.promised);
  const bool was_lossy = evidence_.checkpoint && evidence_.checkpoint->lossy;
  // A write holds both what was kept and what was cut, and the journal's copy of the former is
  // damaged: it is served as far as it counts, and never written behind.
  half_cut_ = search_.limit && segments_end() > *search_.limit;
  lossy_ = !found_.directory_exists || !all_accepted(evidence_, found_.holes) ||
           replay_->end() < promised_ || !confirmed(evidence_) || replay_->contradicts() ||
           was_lossy || half_cut_;
  if (broken(Rule::kLossIsNeverCut)) lossy_ = false;
  if (!lossy_) return;
  recovery_.log.health = LogHealth::kLossy;
  recovery_.problems.push_back(
      lost_sentence(recovery_.log.id, replay_->end(), promised_, was_lossy));
}

Result<bool> LogRecoverer::prepare() {
  judge();
  if (lossy_) return prepare_lossy();
  TIDELOG_ASSIGN(recovery_.torn, cut_torn_tail(context_, search_, found_));
  recovery_.unsynced = is_unsynced(evidence_, found_);
  if (evidence_.journal_goes_on) return false;
  return filler_.prepare(found_.segments, replay_->batches(), SegmentFiller::Begin::kLastSegment);
}

// Nothing that is there is touched: what the journal adds gets segments of its own.
Result<bool> LogRecoverer::prepare_lossy() {
  if (!found_.directory_exists) {
    TIDELOG_TRY(context_.files->make_directories(search_.directory));
    TIDELOG_TRY(context_.files->sync_directory(context_.paths->topic(recovery_.log.id.topic)));
    TIDELOG_TRY(context_.files->sync_directory(context_.paths->root));
  }
  if (replay_->batches().empty()) TIDELOG_TRY(find_beyond(search_, found_));
  recovery_.unsynced = is_unsynced(evidence_, found_);
  replay_ = std::make_unique<EntryReplay>(evidence_, segments_end(), LeaderEpoch(-1));
  replay_->run(true);
  return filler_.prepare(found_.segments, replay_->batches(), SegmentFiller::Begin::kNewSegment);
}

Result<LogRecovery> LogRecoverer::finish() {
  RecoveredLog& log = recovery_.log;
  recovery_.entries_replayed = replay_->entries();
  if (!lossy_ && evidence_.journal_goes_on) {
    keep_tail(*replay_, log);
  } else {
    TIDELOG_TRY(filler_.fill(
        found_.segments, replay_->batches(),
        lossy_ ? SegmentFiller::Begin::kNewSegment : SegmentFiller::Begin::kLastSegment));
    recovery_.unsynced = recovery_.unsynced || !replay_->batches().empty();
    std::ranges::copy(filler_.problems(), std::back_inserter(recovery_.problems));
  }
  log.end = segments_end();
  log.segments = std::move(found_.segments);
  log.retired_files = std::move(found_.retired);
  log.holes = std::move(found_.holes);
  add_accepted(evidence_, log);
  find_end();
  collect_epochs(log);
  log.epochs.cut(log.end);
  log.high_watermark =
      std::clamp(evidence_.checkpoint ? evidence_.checkpoint->high_watermark : log.log_start,
                 log.log_start, log.end);
  return std::move(recovery_);
}

// Where the log ends, and what is missing below.
void LogRecoverer::find_end() {
  RecoveredLog& log = recovery_.log;
  if (lossy_ && !log.segments.empty()) {
    // What the journal added may begin behind the log's start.
    const Offset base = log.segments.front()->summary.base;
    const Hole before{log.log_start, base};
    if (base > log.log_start && !covers(log.holes, before)) log.holes.push_back(before);
  }
  for (std::size_t i = 1; lossy_ && i < log.segments.size(); ++i) {
    const Hole between{log.segments[i - 1]->summary.end, log.segments[i]->summary.base};
    if (between.begin < between.end && !covers(log.holes, between)) log.holes.push_back(between);
  }
  if (log.end < promised_ && lossy_) {
    log.holes.push_back({log.end, promised_});
    log.end = promised_;
  }
  if (half_cut_) log.end = std::min(log.end, *search_.limit);
  std::ranges::sort(log.holes, {}, &Hole::begin);
  if (log.held.empty()) log.end = std::max(log.end, log.log_start);
  log.stable_end = log.end;
  if (!log.held.empty()) log.end = log.held.back().next;
}

}  // namespace tidelog::log
