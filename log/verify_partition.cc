#include "log/verify_partition.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>

#include "log/batch_walk.h"
#include "log/file_window.h"
#include "log/segment_format.h"
#include "log/segment_scan.h"
#include "log/verify_index.h"

namespace tidelog::log {
namespace {

// B of the recovery: the largest end that was promised, truncations taken in their order.
Offset promised_end(const PartitionEvidence& evidence) {
  Offset end(0);
  bool counted = !evidence.checkpoint;
  const auto count_checkpoint = [&] {
    if (!counted) end = std::max(end, evidence.checkpoint->durable_end);
    counted = true;
  };
  for (const VerifiedEntry& at : evidence.entries) {
    if (at.sequence > evidence.checkpoint_sequence) count_checkpoint();
    const JournalEntry& entry = at.entry->entry;
    if (entry.kind == EntryKind::kTruncate) {
      if (at.entry->sound || at.complete) end = entry.next;
      continue;
    }
    end = std::max(end, entry.durable_end);
    if (at.complete) end = std::max(end, entry.next);
  }
  count_checkpoint();
  return end;
}

class PartitionVerifier {
 public:
  PartitionVerifier(io::FileSystem& files, const DataPaths& paths, const TopicPartition& id,
                    const PartitionEvidence& evidence)
      : files_(files), evidence_(evidence) {
    report_.id = id;
    report_.path = paths.partition(id);
  }

  Result<PartitionReport> run() {
    if (evidence_.checkpoint) report_.first = evidence_.checkpoint->log_start;
    place_.next = report_.first;
    promised_ = promised_end(evidence_);
    TIDELOG_ASSIGN(const bool exists, files_.exists(report_.path));
    if (exists) {
      TIDELOG_TRY(read_segments());
    } else {
      say("the directory is missing");
    }
    pass_accepted();
    for (std::size_t i = 0; i < evidence_.entries.size(); ++i) take(i);
    report_.end = place_.next;
    for (const Hole& lost : evidence_.accepted) {
      report_.notes.push_back(fmt::format("offsets {} to {} were lost, which was accepted",
                                          lost.begin.value(), lost.end.value() - 1));
    }
    // A torn tail is none of the log's loss while the journal has what was promised; only a clean
    // stop leaves nothing half written.
    if (!tail_problem_.empty() && (place_.next < promised_ || evidence_.clean)) say(tail_problem_);
    if (evidence_.checkpoint && evidence_.checkpoint->lossy) {
      say("it was found to have lost acknowledged records before");
    }
    if (place_.next < promised_) {
      say(fmt::format("offsets {} to {} were acknowledged and are not there", place_.next.value(),
                      promised_.value() - 1));
    } else if (evidence_.clean && evidence_.checkpoint && place_.next != promised_) {
      say(fmt::format("the clean stop left its end at offset {}, but it is at {}",
                      promised_.value(), place_.next.value()));
    }
    return std::move(report_);
  }

 private:
  void say(std::string problem) { report_.problems.push_back(std::move(problem)); }

  bool accepted(const Hole& range) const { return covers(evidence_.accepted, range); }
  // Behind a loss that was accepted and begins where the log ends.
  void pass_accepted() {
    for (const Hole& lost : evidence_.accepted) {
      if (lost.begin <= place_.next && place_.next < lost.end) place_.next = lost.end;
    }
  }

  void count(const wire::BatchView& batch) {
    ++report_.batches;
    report_.bytes += batch.size();
    report_.records += static_cast<std::uint64_t>(batch.header().record_count);
  }

  Result<> read_segments() {
    TIDELOG_ASSIGN(const auto entries, files_.list(report_.path));
    std::vector<Offset> bases;
    for (const io::DirectoryEntry& entry : entries) {
      if (const auto base = parse_segment_file_name(entry.name)) bases.push_back(*base);
      if (is_set_aside(entry.name)) report_.notes.push_back(aside_sentence(entry.name));
    }
    // What is left of files below the log's start is on its way out.
    while (evidence_.checkpoint && bases.size() > 1 && bases[1] <= report_.first) {
      bases.erase(bases.begin());
    }
    for (std::size_t i = 0; i < bases.size(); ++i) {
      if (i == 0 && !evidence_.checkpoint) report_.first = place_.next = bases[i];
      // A log start inside a segment leaves older records in front of it.
      if (i == 0) place_.next = std::min(place_.next, bases[i]);
      TIDELOG_TRY(read_segment(bases[i], /*is_last=*/i + 1 == bases.size()));
    }
    return {};
  }

  Result<> read_segment(Offset base, bool is_last) {
    const std::string name = segment_file_name(base);
    auto opened =
        files_.open(report_.path + "/" + name, {.mode = io::OpenMode::kRead, .direct = true});
    // A broker that runs may have retired the file since the directory was listed.
    if (!opened && opened.error().code() == ErrorCode::kNotFound && !is_last) return {};
    TIDELOG_ASSIGN(const auto file, std::move(opened));
    TIDELOG_ASSIGN(const std::uint64_t size, file->size());
    FileWindow first(*file, std::min<std::uint64_t>(size, io::kBlockBytes), io::kBlockBytes,
                     Unreadable::kIsUnsound);
    TIDELOG_ASSIGN(const auto block, first.at(0, io::kBlockBytes));
    const auto header = decode_segment_header(block);
    if (!header || header->id != report_.id || header->base != base) {
      // The newest file may be one whose making a crash cut short: it holds nothing.
      TIDELOG_ASSIGN(const bool empty, has_no_writes(*file, size));
      if (!is_last || !empty) say(name + ": the first block is damaged");
      return {};
    }
    if (place_.next < base && !accepted({place_.next, base})) {
      say(fmt::format("offsets {} to {} are missing before {}", place_.next.value(),
                      base.value() - 1, name));
    }
    place_.next = base;
    ++report_.segments;
    SegmentScanner scanner(*file, size, header->file_id, report_.id, Offset(0));
    const std::string index_name = index_file_name(base);
    TIDELOG_ASSIGN(index_, IndexCheck::load(files_, report_.path + "/" + index_name,
                                            header->file_id, base, size));
    TIDELOG_TRY(is_last ? read_tail(scanner, name) : read_sealed(scanner, name));
    if (!index_) return {};
    if (const auto wrong = index_->finish(/*covers_all=*/!is_last)) {
      say(
          fmt::format("{}: says {}; its checksum is right, so a start believes it: remove the file "
                      "while no broker runs, it is made anew",
                      index_name, *wrong));
    }
    return {};
  }

  Result<bool> has_no_writes(io::File& file, std::uint64_t size) {
    FileWindow window(file, size, std::size_t{1} << 20, Unreadable::kIsUnsound);
    for (std::uint64_t at = io::kBlockBytes; at < size; at += io::kBlockBytes) {
      TIDELOG_ASSIGN(const auto block, window.at(at, kWriteHeaderBytes));
      if (decode_write_header(block)) return false;
    }
    return true;
  }

  // Whole writes up to the first that is not; says why it is not.
  Result<std::string> read_writes(SegmentScanner& scanner, SegmentCursor& cursor) {
    const BatchVisitor visit = [this](std::uint64_t position, const wire::BatchView& batch) {
      count(batch);
      if (index_) index_->batch(position, batch);
    };
    while (true) {
      TIDELOG_ASSIGN(const auto step, scanner.step(cursor, visit));
      place_ = cursor.place;
      if (!step.whole) return step.problem;
      if (index_) index_->write_ended(cursor.position, cursor.sequence);
      promised_ = std::max(promised_, Offset(static_cast<std::int64_t>(step.header->durable)));
    }
  }

  // All of it was stable before the next segment was made: whatever is unsound is damage.
  Result<> read_sealed(SegmentScanner& scanner, const std::string& name) {
    SegmentCursor cursor{.position = io::kBlockBytes, .sequence = 0, .place = place_};
    while (true) {
      TIDELOG_ASSIGN(const std::string problem, read_writes(scanner, cursor));
      if (problem.empty()) return {};
      say(fmt::format("{}: {}", name, problem));
      index_.reset();  // it may well know more than can be read
      TIDELOG_ASSIGN(const auto next, find_newer(scanner, cursor));
      if (!next) return {};
      cursor.position = next->position;
      cursor.place.next = Offset(static_cast<std::int64_t>(next->first));
    }
  }

  // A write of this segment behind the cursor that goes on, maybe after a gap.
  Result<std::optional<WriteHeader>> find_newer(SegmentScanner& scanner,
                                                const SegmentCursor& cursor) {
    for (std::uint64_t position = cursor.position + io::kBlockBytes;;) {
      TIDELOG_ASSIGN(const auto next, scanner.find_header(position));
      if (!next || next->first >= static_cast<std::uint64_t>(cursor.place.next.value())) {
        return next;
      }
      position = next->position + io::kBlockBytes;
    }
  }

  // Behind the end a torn write may stand that nobody was promised; later headers say what was.
  Result<> read_tail(SegmentScanner& scanner, const std::string& name) {
    SegmentCursor cursor{.position = io::kBlockBytes, .sequence = 0, .place = place_};
    TIDELOG_ASSIGN(std::string problem, read_writes(scanner, cursor));
    // Behind a loss that was accepted the log may go on in the same file.
    while (accepted({cursor.place.next, cursor.place.next + 1})) {
      TIDELOG_ASSIGN(const auto next, find_newer(scanner, cursor));
      if (!next) break;
      const Offset first(static_cast<std::int64_t>(next->first));
      if (first > cursor.place.next && !accepted({cursor.place.next, first})) break;
      index_.reset();
      cursor.position = next->position;
      cursor.place.next = first;
      TIDELOG_ASSIGN(problem, read_writes(scanner, cursor));
    }
    for (std::uint64_t position = cursor.position;;) {
      TIDELOG_ASSIGN(const auto next, scanner.find_header(position));
      if (!next) break;
      promised_ = std::max(promised_, Offset(static_cast<std::int64_t>(next->durable)));
      position = next->position + io::kBlockBytes;
    }
    if (!problem.empty()) tail_problem_ = fmt::format("{}: {}", name, problem);
    return {};
  }

  // What the journal holds behind the segments, as far as no later truncation voids it.
  void take(std::size_t index) {
    const ReplayEntry& entry = *evidence_.entries[index].entry;
    if (!entry.sound || entry.entry.next <= place_.next || entry.entry.base > place_.next) return;
    Offset limit = entry.entry.next;
    for (const VerifiedEntry& later : std::span(evidence_.entries).subspan(index + 1)) {
      const JournalEntry& other = later.entry->entry;
      if (other.kind == EntryKind::kTruncate) limit = std::min(limit, other.next);
    }
    for (auto rest = evidence_.entries[index].batches; !rest.empty();) {
      const auto batch = wire::BatchView::parse(rest, kStoredBatchBytesMax);
      if (!batch) return;
      rest = rest.subspan(batch->size());
      // The log's start may lie inside its first batch.
      const bool first = report_.batches == 0 && batch->base_offset() < place_.next &&
                         batch->next_offset() > place_.next;
      if (!first && batch->base_offset() != place_.next) continue;
      if (batch->next_offset() > limit) continue;
      count(*batch);
      place_.next = batch->header().next_offset();
    }
  }

  io::FileSystem& files_;
  const PartitionEvidence& evidence_;
  PartitionReport report_;
  BatchPlace place_;
  Offset promised_{0};
  std::string tail_problem_;
  std::optional<IndexCheck> index_;  // of the segment being read, while nothing is amiss in it
};

}  // namespace

Result<PartitionReport> verify_partition(io::FileSystem& files, const DataPaths& paths,
                                         const TopicPartition& id,
                                         const PartitionEvidence& evidence) {
  return PartitionVerifier(files, paths, id, evidence).run();
}

}  // namespace tidelog::log
