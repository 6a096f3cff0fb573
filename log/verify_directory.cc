#include "log/verify_directory.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "log/batch_walk.h"
#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/file_window.h"
#include "log/journal_replay.h"
#include "log/segment_format.h"
#include "log/segment_scan.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

// A journal that a running broker writes while it is read can look damaged: then it is read again.
constexpr int kAttemptsMax = 5;
constexpr std::uint64_t kMarkerBytesMax = std::uint64_t{1} << 30;

struct EntryEvidence {
  const ReplayEntry* entry = nullptr;
  std::uint64_t sequence = 0;
  bool complete = false;
  std::span<const std::byte> batches;  // as they were read with the entry
};

// What is known of one log before its segments are read.
struct Evidence {
  std::optional<LogCheckpoint> checkpoint;
  bool clean = false;  // the checkpoint is the clean-stop marker: it names the exact end
  std::uint64_t checkpoint_sequence = 0;
  std::vector<EntryEvidence> entries;  // in sequence
  std::vector<Hole> accepted;          // as lost, by a person
};

// B of the recovery: the largest end that was promised, truncations taken in their order.
Offset promised_end(const Evidence& evidence) {
  Offset end(0);
  bool counted = !evidence.checkpoint;
  const auto count_checkpoint = [&] {
    if (!counted) end = std::max(end, evidence.checkpoint->durable_end);
    counted = true;
  };
  for (const EntryEvidence& at : evidence.entries) {
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
                    const Evidence& evidence)
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
    return is_last ? read_tail(scanner, name) : read_sealed(scanner, name);
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
    const BatchVisitor visit = [this](std::uint64_t, const wire::BatchView& batch) {
      count(batch);
    };
    while (true) {
      TIDELOG_ASSIGN(const auto step, scanner.step(cursor, visit));
      place_ = cursor.place;
      if (!step.whole) return step.problem;
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
    for (const EntryEvidence& later : std::span(evidence_.entries).subspan(index + 1)) {
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
  const Evidence& evidence_;
  PartitionReport report_;
  BatchPlace place_;
  Offset promised_{0};
  std::string tail_problem_;
};

// What a broker that runs overwrites now may look damaged, or be gone for a moment: it is loaded
// again.
template <typename Load>
auto load_settled(const Load& load) {
  for (int attempt = 1;; ++attempt) {
    auto loaded = load();
    const bool settled =
        loaded ? loaded->problems.empty() : loaded.error().code() != ErrorCode::kNotFound;
    if (settled || attempt == kAttemptsMax) return loaded;
  }
}

class DirectoryVerifier {
 public:
  DirectoryVerifier(io::FileSystem& files, const DataPaths& paths) : files_(files), paths_(paths) {}

  Result<VerifyReport> run() {
    TIDELOG_TRY(read_meta());
    Catalog catalog(files_, paths_.catalog());
    TIDELOG_ASSIGN(const auto loaded, load_settled([&] { return catalog.load(); }));
    report_.files += loaded.any_exists ? 2 : 0;
    for (const std::string& problem : loaded.problems) say(problem);
    if (!loaded.sound) {
      say(fmt::format("{} is {}", paths_.catalog(), loaded.any_exists ? "damaged" : "missing"));
    }
    TIDELOG_TRY(read_checkpoint());
    TIDELOG_TRY(read_journals());
    if (journals_.empty() && !catalog.replicas().empty()) {
      say(
          fmt::format("{} holds no journal, but the catalog lists {} logs, whose newest records "
                      "were in it",
                      paths_.journals(), catalog.replicas().size()));
    }
    sort_evidence();
    for (const auto& [id, replica] : catalog.replicas()) {
      if (replica.state != ReplicaState::kLives) continue;
      Evidence evidence = evidence_of(id, replica.incarnation);
      evidence.accepted = replica.accepted;
      auto partition = PartitionVerifier(files_, paths_, id, evidence).run();
      bool removed = false;
      // A broker that runs may have removed it, or its first segments, since that was read.
      while (!partition || !partition->problems.empty()) {
        TIDELOG_ASSIGN(removed, no_longer_listed(id, replica.incarnation));
        TIDELOG_ASSIGN(const bool begins_later, start_rose(id, replica.incarnation, evidence));
        if (removed || !begins_later) break;
        partition = PartitionVerifier(files_, paths_, id, evidence).run();
      }
      if (removed) continue;
      if (!partition) return fail(partition.error());
      report_.files += partition->segments;
      report_.partitions.push_back(std::move(*partition));
    }
    // A crash while it was made leaves such a file too; then nothing is missing.
    if (!report_.ok()) {
      for (const std::string& path : headless_) {
        say(path + ": byte 0: no header is there; it may have held what is missing");
      }
    }
    return std::move(report_);
  }

 private:
  void say(std::string problem) { report_.problems.push_back(std::move(problem)); }

  Result<bool> no_longer_listed(const TopicPartition& id, std::uint32_t incarnation) {
    Catalog catalog(files_, paths_.catalog());
    TIDELOG_ASSIGN(const auto loaded, catalog.load());
    if (!loaded.sound) return false;
    const auto replicas = catalog.replicas();
    const auto now = replicas.find(id);
    return now == replicas.end() || now->second.incarnation != incarnation ||
           now->second.state != ReplicaState::kLives;
  }

  // Whether the log begins later now than `evidence` says, which then says so too. Nothing else of
  // a newer checkpoint counts: the journals were read with the older one.
  Result<bool> start_rose(const TopicPartition& id, std::uint32_t incarnation, Evidence& evidence) {
    if (clean_) return false;
    TIDELOG_ASSIGN(const auto loaded, load_checkpoint());
    const auto content = loaded.content ? decode_checkpoint(loaded.content->body)
                                        : std::optional<CheckpointContent>();
    if (!content) return false;
    for (const LogCheckpoint& log : content->logs) {
      if (log.id != id || log.incarnation != incarnation) continue;
      if (!evidence.checkpoint) {
        evidence.checkpoint.emplace();
        evidence.checkpoint->id = id;
        evidence.checkpoint->incarnation = incarnation;
      }
      if (log.log_start <= evidence.checkpoint->log_start) return false;
      evidence.checkpoint->log_start = log.log_start;
      return true;
    }
    return false;
  }

  Result<> read_meta() {
    SlotFile meta(files_, paths_.meta(), kMetaMagic, SlotPolicy::kBoth);
    TIDELOG_ASSIGN(const auto loaded, load_settled([&] { return meta.load(); }));
    report_.files += loaded.any_exists ? 2 : 0;
    for (const std::string& problem : loaded.problems) say(problem);
    if (!loaded.content || !decode_meta(loaded.content->body)) {
      say(fmt::format("{} is {}", paths_.meta(), loaded.any_exists ? "damaged" : "missing"));
    }
    return {};
  }

  Result<> read_checkpoint() {
    TIDELOG_ASSIGN(auto marker, read_marker());
    if (marker) {
      ++report_.files;
      checkpoint_ = std::move(*marker);
      clean_ = true;
      return {};
    }
    TIDELOG_ASSIGN(const auto loaded, load_checkpoint());
    report_.files += loaded.any_exists ? 2 : 0;
    for (const std::string& problem : loaded.problems) say(problem);
    if (!loaded.content) return {};
    auto content = decode_checkpoint(loaded.content->body);
    if (!content) {
      say(paths_.checkpoint() + " is damaged");
      return {};
    }
    checkpoint_ = std::move(*content);
    return {};
  }

  // Nullopt: there is none, or none that counts.
  Result<std::optional<CheckpointContent>> read_marker() {
    for (int attempt = 1; attempt <= kAttemptsMax; ++attempt) {
      const auto bytes = read_whole_file(files_, paths_.clean_stop(), kMarkerBytesMax);
      if (!bytes && bytes.error().code() == ErrorCode::kNotFound) return std::nullopt;
      if (!bytes) return fail(bytes.error());
      const auto slot = decode_slot(kCleanStopMagic, *bytes);
      if (auto content = slot ? decode_checkpoint(slot->body) : std::nullopt) return content;
    }
    say(paths_.clean_stop() + " is damaged; the next start scans all logs");
    return std::nullopt;
  }

  Result<SlotFile::Loaded> load_checkpoint() {
    return load_settled([this] {
      SlotFile file(files_, paths_.checkpoint(), kCheckpointMagic, SlotPolicy::kAlternate);
      return file.load();
    });
  }

  Result<> read_journals() {
    TIDELOG_ASSIGN(auto journals, list_journals(files_, paths_));
    std::uint32_t named = 0;
    for (const JournalFiles& journal : journals) {
      for (int attempt = 1;; ++attempt) {
        Batches batches;
        // Kept: a broker that runs may overwrite them before the segments are read.
        const EntryVisitor keep = [&batches](std::uint64_t, const ReplayEntry& entry,
                                             std::span<const std::byte> bytes) {
          batches[{entry.file, entry.position}].assign(bytes.begin(), bytes.end());
        };
        TIDELOG_ASSIGN(auto replayed,
                       read_journal(files_, paths_, journal, checkpoint_.journals, keep));
        std::vector<std::string> problems = problems_of(replayed);
        if (!problems.empty() && attempt < kAttemptsMax) continue;
        for (std::string& problem : problems) say(std::move(problem));
        report_.files += journal.numbers.size();
        named = std::max(named, replayed.shard_count);
        report_.journal_writes += replayed.writes.size();
        if (replayed.journal_id == 0) {
          for (const auto& file : replayed.reader->files()) headless_.push_back(file.path);
        }
        journals_.push_back({std::move(replayed), std::move(batches)});
        break;
      }
    }
    // A broker that starts now may have made it meanwhile.
    if (!missing_journals(journals, named).empty()) {
      TIDELOG_ASSIGN(journals, list_journals(files_, paths_));
    }
    for (const std::uint32_t shard : missing_journals(journals, named)) {
      say(missing_sentence(paths_, shard));
    }
    return {};
  }

  static std::vector<std::string> problems_of(const ReplayedJournal& journal) {
    std::vector<std::string> problems = journal.problems;
    for (const std::uint64_t lost : journal.lost) {
      problems.push_back(fmt::format("{}: write {} was complete and is damaged",
                                     write_place(journal, lost), lost));
    }
    for (const ReplayWrite& write : journal.writes) {
      for (const ReplayEntry& entry : write.entries) {
        if (entry.sound || write.header.sequence > journal.durable) continue;
        problems.push_back(fmt::format("{}: write {} holds damaged batches of {}",
                                       write_place(journal, write.header.sequence),
                                       write.header.sequence, entry.entry.id.to_string()));
      }
    }
    return problems;
  }

  // By file and position.
  using Batches = std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::byte>>;
  struct ReadJournal {
    ReplayedJournal journal;
    Batches batches;
  };

  // A life of a log: entries and checkpoints of an earlier one say nothing about it.
  using Life = std::pair<TopicPartition, std::uint32_t>;

  void sort_evidence() {
    for (const LogCheckpoint& log : checkpoint_.logs) {
      evidence_[{log.id, log.incarnation}].checkpoint = log;
    }
    for (const auto& [journal, batches] : journals_) {
      std::uint64_t checkpointed = 0;
      for (const JournalCheckpoint& known : checkpoint_.journals) {
        if (known.journal_id == journal.journal_id) checkpointed = known.durable_sequence;
      }
      for (const ReplayWrite& write : journal.writes) {
        for (const ReplayEntry& entry : write.entries) {
          Evidence& evidence = evidence_[{entry.entry.id, entry.entry.incarnation}];
          evidence.checkpoint_sequence = checkpointed;
          const auto own = batches.find({entry.file, entry.position});
          evidence.entries.push_back(
              {&entry, write.header.sequence, write.header.sequence <= journal.durable,
               own == batches.end() ? std::span<const std::byte>() : std::span(own->second)});
        }
      }
    }
  }

  Evidence evidence_of(const TopicPartition& id, std::uint32_t incarnation) const {
    const auto at = evidence_.find({id, incarnation});
    Evidence evidence = at == evidence_.end() ? Evidence() : at->second;
    evidence.clean = clean_;
    return evidence;
  }

  io::FileSystem& files_;
  const DataPaths& paths_;
  VerifyReport report_;
  CheckpointContent checkpoint_;
  bool clean_ = false;
  std::vector<ReadJournal> journals_;
  std::vector<std::string> headless_;  // journal files in which nothing can be found
  std::map<Life, Evidence> evidence_;
};

}  // namespace

Result<VerifyReport> verify_directory(io::FileSystem& files, const DataPaths& paths) {
  return DirectoryVerifier(files, paths).run();
}

}  // namespace tidelog::log
