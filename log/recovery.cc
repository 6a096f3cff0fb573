#include "log/recovery.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>

#include "log/journal_handover.h"
#include "log/journal_replay.h"
#include "log/log_recovery.h"
#include "log/partition_directories.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

// Stands for a journal write that may have been complete, whatever is known of others.
constexpr std::uint64_t kAnyWrite = std::numeric_limits<std::uint64_t>::max();

class Recovery {
 public:
  explicit Recovery(const RecoveryRequest& request)
      : request_(request),
        files_(*request.files),
        paths_(request.directory->paths()),
        context_{request.files, &paths_, request.options.index_interval_bytes, request.now_us},
        handover_{request.files, &paths_, request.options.journal_bytes_min, request.shards} {
    outcome_.logs.resize(request.shards);
  }

  Result<RecoveryOutcome> run() {
    TIDELOG_TRY(load_catalog());
    TIDELOG_TRY(load_checkpoint());
    TIDELOG_ASSIGN(journals_, list_journals(files_, paths_));
    if (journals_.empty() && !replicas_.empty()) {
      return fail(ErrorCode::kCorruptData,
                  fmt::format("{} holds no journal, but the catalog lists {} logs, whose newest "
                              "records were in it; put it back, or accept the loss with `tidelog "
                              "log repair {}`",
                              paths_.journals(), replicas_.size(), paths_.root));
    }
    TIDELOG_TRY(finish_removals());
    TIDELOG_TRY(note_strangers());
    TIDELOG_ASSIGN(survey_, survey_journals(files_, paths_, journals_, journal_checkpoints_,
                                            /*holds_logs=*/!replicas_.empty()));
    TIDELOG_TRY(take_over_journals());
    if (!goes_on_) TIDELOG_TRY(recover_from_journals());
    TIDELOG_TRY(recover_the_rest());
    if (unsynced_ && !broken(Rule::kFoundIsSynced)) TIDELOG_TRY(files_.sync_all(paths_.root));
    // In this order: what only journals knew is in the checkpoint before they are emptied. A marker
    // goes last where the journals go on, since until then nothing it says has changed.
    if (goes_on_ || !broken(Rule::kCheckpointBeforeNewIds)) TIDELOG_TRY(store_checkpoint());
    if (!goes_on_) {
      TIDELOG_ASSIGN(outcome_.journals, renew_journals(handover_, journals_));
    }
    TIDELOG_TRY(request_.directory->remove_marker());
    for (const std::string& problem : request_.directory->problems()) say(problem);
    return std::move(outcome_);
  }

 private:
  void say(std::string problem) { outcome_.summary.problems.push_back(std::move(problem)); }

  void tell_progress() {
    if (!request_.on_progress) return;
    progress_.journals = journals_.size();
    progress_.logs = replicas_.size();
    progress_.logs_examined = done_.size();
    progress_.logs_recovered = outcome_.summary.logs;
    request_.on_progress(progress_);
  }

  Result<> load_catalog() {
    TIDELOG_ASSIGN(auto loaded, request_.catalog->load());
    for (std::string& problem : loaded.problems) say(std::move(problem));
    outcome_.summary.created = request_.directory->created();
    if (!loaded.sound) {
      TIDELOG_ASSIGN(const bool needed, needs_catalog(files_, paths_));
      if (needed) {
        return fail(
            ErrorCode::kCorruptData,
            fmt::format("{} is {}; look at it with `tidelog log verify {}`; restore catalog.0 "
                        "from a backup, or have it made anew with `tidelog log repair {}`",
                        paths_.catalog(), loaded.any_exists ? "damaged" : "missing", paths_.root,
                        paths_.root));
      }
      outcome_.summary.created = true;
      outcome_.summary.problems.clear();
    }
    // Whatever a crash left, both copies are sound, stable and the same.
    TIDELOG_ASSIGN(const auto none, request_.catalog->apply({}));
    static_cast<void>(none);
    TIDELOG_TRY(files_.make_directories(paths_.journals()));
    return files_.sync_directory(paths_.root);
  }

  Result<> load_checkpoint() {
    TIDELOG_ASSIGN(auto loaded, request_.checkpoint->load());
    for (std::string& problem : loaded.problems) say(std::move(problem));
    TIDELOG_ASSIGN(auto marker, request_.directory->read_marker());
    outcome_.summary.clean = marker.has_value();
    const CheckpointContent& content = marker ? *marker : loaded.content;
    journal_checkpoints_ = content.journals;
    for (const LogCheckpoint& log : content.logs) checkpoints_[log.id] = log;
    replicas_ = request_.catalog->replicas();
    if (!loaded.exists && !marker && !replicas_.empty()) {
      say(missing_checkpoint(request_.directory->paths().checkpoint(), replicas_.size()));
    }
    return {};
  }

  // Removals that a stop interrupted.
  Result<> finish_removals() {
    PartitionDirectories directories(files_, paths_);
    std::vector<TopicPartition> removed;
    std::vector<Catalog::Change> gone;
    for (const auto& [id, entry] : replicas_) {
      if (entry.state != ReplicaState::kRemoving) continue;
      TIDELOG_TRY(directories.remove(id));
      removed.push_back(id);
      gone.push_back({id, std::nullopt});
    }
    if (gone.empty()) return {};
    TIDELOG_TRY(directories.settle(removed));
    TIDELOG_ASSIGN(const auto struck, request_.catalog->apply(gone));
    static_cast<void>(struck);
    replicas_ = request_.catalog->replicas();
    return {};
  }

  // Directories that no catalog knows: an unfinished creation leaves an empty one, which goes;
  // others stay and are told.
  Result<> note_strangers() {
    PartitionDirectories directories(files_, paths_);
    TIDELOG_ASSIGN(const auto found, directories.list());
    std::vector<TopicPartition> removed;
    for (const TopicPartition& id : found) {
      if (replicas_.contains(id)) continue;
      TIDELOG_ASSIGN(const auto inside, files_.list(paths_.partition(id)));
      if (inside.empty()) {
        TIDELOG_TRY(directories.remove(id));
        removed.push_back(id);
      } else {
        say(fmt::format("{} is not in the catalog; it is left alone", paths_.partition(id)));
      }
    }
    return removed.empty() ? Result<>() : directories.settle(removed);
  }

  LogEvidence evidence_of(const TopicPartition& id, const CatalogEntry& entry) const {
    LogEvidence evidence;
    evidence.clean = outcome_.summary.clean;
    evidence.journal_goes_on = goes_on_;
    evidence.accepted = entry.accepted;
    const auto checkpoint = checkpoints_.find(id);
    if (checkpoint != checkpoints_.end() && (checkpoint->second.incarnation == entry.incarnation ||
                                             broken(Rule::kCheckpointOfThisLife))) {
      evidence.checkpoint = checkpoint->second;
    }
    return evidence;
  }

  Result<> begin_one(const TopicPartition& id, LogEvidence evidence) {
    auto one = std::make_unique<LogRecoverer>(context_, id, replicas_.at(id).incarnation,
                                              request_.settings_of(id), std::move(evidence));
    TIDELOG_TRY(one->find());
    done_.insert(id);
    begun_.push_back(std::move(one));
    tell_progress();
    return {};
  }

  // Finishes the recoveries that were begun, whose batches `journal` has (null: there are none):
  // as many at a time as their batches fit into memory.
  Result<> finish_begun(JournalReader* journal) {
    const auto begun = std::exchange(begun_, {});
    for (std::size_t first = 0; first < begun.size();) {
      std::vector<LogEvidence::Entry*> wanted;
      std::size_t bytes = 0;
      std::size_t end = first;
      for (; end < begun.size(); ++end) {
        const auto own = begun[end]->wanted();
        std::size_t own_bytes = 0;
        for (const auto* at : own) own_bytes += at->entry->entry.length;
        if (end > first && bytes + own_bytes > request_.options.replay_bytes_max) break;
        bytes += own_bytes;
        wanted.insert(wanted.end(), own.begin(), own.end());
      }
      TIDELOG_ASSIGN(const auto batches, read_batches(journal, std::move(wanted), bytes));
      TIDELOG_TRY(finish(std::span(begun).subspan(first, end - first)));
      first = end;
    }
    return {};
  }

  // One walk through the files, whatever the number of logs. The entries point into what it gives.
  static Result<std::vector<std::byte>> read_batches(JournalReader* journal,
                                                     std::vector<LogEvidence::Entry*> wanted,
                                                     std::size_t bytes) {
    std::vector<std::byte> batches;
    batches.reserve(bytes);
    std::ranges::sort(wanted, {}, [](const LogEvidence::Entry* at) {
      return std::pair(at->entry->file, at->entry->position);
    });
    for (LogEvidence::Entry* at : wanted) {
      TIDELOG_ASSIGN(const auto read, journal->batches_of(*at->entry));
      const std::size_t begin = batches.size();
      batches.insert(batches.end(), read.begin(), read.end());
      at->batches = std::span(batches).subspan(begin);
    }
    return batches;
  }

  Result<> finish(std::span<const std::unique_ptr<LogRecoverer>> group) {
    bool made = false;
    for (const auto& one : group) {
      TIDELOG_ASSIGN(const bool file, one->prepare());
      made = made || file;
      tell_progress();
    }
    if (made && !broken(Rule::kHeadersBeforeBatches)) TIDELOG_TRY(files_.sync_all(paths_.root));
    for (const auto& one : group) {
      TIDELOG_ASSIGN(LogRecovery recovered, one->finish());
      for (std::string& problem : recovered.problems) say(std::move(problem));
      ++outcome_.summary.logs;
      outcome_.summary.journal_entries_replayed += recovered.entries_replayed;
      if (recovered.torn) ++outcome_.summary.torn_logs_truncated;
      unsynced_ = unsynced_ || recovered.unsynced;
      outcome_.logs[request_.shard_of(recovered.log.id)].push_back(std::move(recovered.log));
      tell_progress();
    }
    return {};
  }

  // What a killed process had in flight may be readable and not stable yet. What is taken from here
  // counts as promised once it is in a segment.
  Result<> sync_journal(const JournalFiles& journal) {
    if (broken(Rule::kFoundJournalIsSynced)) return {};
    for (const std::uint32_t number : journal.numbers) {
      TIDELOG_ASSIGN(auto file, files_.open(paths_.journal_file(journal.shard, number),
                                            {.mode = io::OpenMode::kRead, .direct = true}));
      TIDELOG_TRY(file->sync_data());
    }
    return {};
  }

  // The journals go on as they are, with what they hold of each log, when they can. When not, the
  // marker of a clean stop goes first: what it says is true only while nothing changes.
  Result<> take_over_journals() {
    if (request_.renews_journals) return request_.directory->remove_marker();
    std::vector<ReplayedJournal> replayed;
    for (const JournalFiles& journal : journals_) {
      if (!outcome_.summary.clean) TIDELOG_TRY(sync_journal(journal));
      TIDELOG_ASSIGN(auto one, outcome_.summary.clean
                                   ? read_clean_journal(journal)
                                   : read_journal(files_, paths_, journal, survey_));
      replayed.push_back(std::move(one));
    }
    const auto misplaced = [this](const JournalEntry& entry, std::size_t shard) {
      const auto log = replicas_.find(entry.id);
      return log != replicas_.end() && log->second.incarnation == entry.incarnation &&
             request_.shard_of(entry.id) != shard;
    };
    std::optional<std::span<const JournalCheckpoint>> marked;
    if (outcome_.summary.clean) marked = journal_checkpoints_;
    TIDELOG_ASSIGN(auto adopted, adopt_journals(handover_, replayed, marked, misplaced));
    if (!adopted) return request_.directory->remove_marker();
    goes_on_ = true;
    outcome_.journals = std::move(*adopted);
    for (const ReplayedJournal& journal : replayed) TIDELOG_TRY(recover_entries(journal, 0));
    return {};
  }

  // What the marker does not lead to is looked for everywhere.
  Result<ReplayedJournal> read_clean_journal(const JournalFiles& journal) {
    TIDELOG_ASSIGN(auto marked, read_marked_journal(files_, paths_, journal, journal_checkpoints_));
    if (marked) return std::move(*marked);
    return read_journal(files_, paths_, journal, survey_);
  }

  // A log has one journal between two starts. Those without a header come last: what they seem to
  // hold of a log that another one has is of earlier times.
  Result<> recover_from_journals() {
    for (const bool headless : {false, true}) {
      for (const JournalFiles& journal : journals_) {
        if (survey_.headless.contains(journal.shard) == headless) {
          TIDELOG_TRY(recover_from_journal(journal));
        }
      }
    }
    for (const std::uint32_t shard : missing_journals(journals_, survey_.shards)) {
      say(missing_sentence(paths_, shard));
      if (!outcome_.summary.clean) losses_.push_back({shard, survey_.shards, kAnyWrite, 0});
    }
    return {};
  }

  Result<> recover_from_journal(const JournalFiles& journal) {
    TIDELOG_TRY(sync_journal(journal));
    TIDELOG_ASSIGN(ReplayedJournal replayed, read_journal(files_, paths_, journal, survey_));
    for (const std::string& problem : replayed.problems) say(problem);
    for (std::string& sentence : lost_sentences(replayed)) say(std::move(sentence));
    if (replayed.journal_id != 0) read_.push_back({replayed.journal_id, replayed.durable, 0, 0});
    // After a clean stop the end of each log is known.
    const std::uint64_t newest_lost = replayed.rest_unknown && !outcome_.summary.clean ? kAnyWrite
                                      : replayed.lost.empty()                          ? 0
                                                              : replayed.lost.back().last;
    TIDELOG_TRY(recover_entries(replayed, newest_lost));
    if (newest_lost > 0) {
      losses_.push_back({replayed.shard,
                         replayed.generation == 0 ? survey_.shards : replayed.shard_count,
                         newest_lost, checkpointed_sequence(replayed.journal_id)});
    }
    return {};
  }

  // The logs that this journal says something about; `newest_lost` as in LogEvidence.
  Result<> recover_entries(const ReplayedJournal& replayed, std::uint64_t newest_lost) {
    ++progress_.journals_read;
    tell_progress();
    std::map<TopicPartition, std::vector<LogEvidence::Entry>> entries;
    for (const ReplayWrite& write : replayed.writes) {
      for (const ReplayEntry& entry : write.entries) {
        const auto replica = replicas_.find(entry.entry.id);
        if (replica == replicas_.end() || (replica->second.incarnation != entry.entry.incarnation &&
                                           !broken(Rule::kEntriesOfThisLife))) {
          continue;  // of a log, or a life of one, that was removed
        }
        entries[entry.entry.id].push_back(
            {&entry, write.header.sequence, write.header.durable, {}});
      }
    }
    for (const auto& [id, own] : entries) {
      // A log has one journal between two starts.
      if (done_.contains(id)) {
        say(
            fmt::format("the journal of shard {} holds entries of {}, which another journal held "
                        "too; they were not used",
                        replayed.shard, id.to_string()));
        continue;
      }
      LogEvidence evidence = evidence_of(id, replicas_.at(id));
      evidence.entries = own;
      evidence.journal_durable = replayed.durable;
      evidence.newest_lost = newest_lost;
      evidence.checkpoint_sequence = checkpointed_sequence(replayed.journal_id);
      TIDELOG_TRY(begin_one(id, std::move(evidence)));
    }
    return finish_begun(replayed.reader.get());
  }

  std::uint64_t checkpointed_sequence(std::uint64_t journal_id) const {
    const auto known =
        std::ranges::find(journal_checkpoints_, journal_id, &JournalCheckpoint::journal_id);
    return known == journal_checkpoints_.end() ? 0 : known->durable_sequence;
  }

  // Logs of which no journal holds anything now; a lost write may have.
  Result<> recover_the_rest() {
    for (const auto& [id, replica] : replicas_) {
      if (done_.contains(id)) continue;
      LogEvidence evidence = evidence_of(id, replica);
      for (const Loss& loss : losses_) {
        // With the shards of today the owner of a lost entry is known; else it may be any log.
        if (loss.shard_count == request_.shards && request_.shard_of(id) != loss.shard) continue;
        if (evidence.checkpoint && loss.checkpointed >= loss.newest) continue;
        evidence.newest_lost = std::max(evidence.newest_lost, loss.newest);
      }
      TIDELOG_TRY(begin_one(id, std::move(evidence)));
    }
    return finish_begun(nullptr);
  }

  Result<> store_checkpoint() {
    std::vector<CheckpointContent> parts(request_.shards);
    // All that is older than this checkpoint: a start that meets these journals again, since a
    // crash kept them from getting new ids, must not miss what an older checkpoint confirmed.
    parts.front().journals = read_;
    for (std::size_t shard = 0; shard < outcome_.journals.size(); ++shard) {
      const StoredJournal& journal = outcome_.journals[shard];
      parts[shard].journals.push_back({journal.files.front().header.journal_id,
                                       journal.writes.empty() ? 0 : journal.writes.back().sequence,
                                       0, 0});
    }
    for (std::size_t shard = 0; shard < request_.shards; ++shard) {
      for (const RecoveredLog& log : outcome_.logs[shard]) {
        parts[shard].logs.push_back({.id = log.id,
                                     .incarnation = log.incarnation,
                                     .log_start = log.log_start,
                                     .recovery_point = log.stable_end,
                                     .durable_end = log.end,
                                     .high_watermark = log.high_watermark,
                                     .lossy = log.health == LogHealth::kLossy});
      }
    }
    return request_.checkpoint->store_all(std::move(parts));
  }

  const RecoveryRequest& request_;
  io::FileSystem& files_;
  const DataPaths& paths_;
  LogRecoveryContext context_;
  JournalHandover handover_;
  bool goes_on_ = false;   // the journals do, as they are
  bool unsynced_ = false;  // what was found or written counts only once all is synced
  RecoveryOutcome outcome_;
  RecoveryProgress progress_;
  struct Loss {
    std::uint32_t shard = 0;
    std::uint32_t shard_count = 0;
    std::uint64_t newest = 0;        // sequence of the newest lost write
    std::uint64_t checkpointed = 0;  // what a checkpoint knows to be older than itself
  };
  std::vector<Loss> losses_;
  std::vector<JournalFiles> journals_;
  std::vector<JournalCheckpoint> journal_checkpoints_;
  JournalSurvey survey_;
  std::vector<JournalCheckpoint> read_;  // journals that were replayed
  std::map<TopicPartition, LogCheckpoint> checkpoints_;
  std::map<TopicPartition, CatalogEntry> replicas_;
  std::vector<std::unique_ptr<LogRecoverer>> begun_;
  std::set<TopicPartition> done_;  // or begun
};

}  // namespace

Result<RecoveryOutcome> recover(const RecoveryRequest& request) { return Recovery(request).run(); }

}  // namespace tidelog::log
