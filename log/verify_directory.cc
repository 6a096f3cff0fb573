#include "log/verify_directory.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/journal_replay.h"
#include "log/slot_file.h"
#include "log/verify_partition.h"

namespace tidelog::log {
namespace {

// A journal that a running broker writes while it is read can look damaged: then it is read again.
constexpr int kAttemptsMax = 5;
constexpr std::uint64_t kMarkerBytesMax = std::uint64_t{1} << 30;

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
    TIDELOG_TRY(read_checkpoint(catalog.replicas().size()));
    TIDELOG_TRY(read_journals(/*holds_logs=*/!catalog.replicas().empty()));
    if (journals_.empty() && !catalog.replicas().empty()) {
      say(
          fmt::format("{} holds no journal, but the catalog lists {} logs, whose newest records "
                      "were in it",
                      paths_.journals(), catalog.replicas().size()));
    }
    sort_evidence();
    for (const auto& [id, replica] : catalog.replicas()) {
      if (replica.state != ReplicaState::kLives) continue;
      PartitionEvidence evidence = evidence_of(id, replica.incarnation);
      evidence.accepted = replica.accepted;
      auto partition = verify_partition(files_, paths_, id, evidence);
      bool removed = false;
      // A broker that runs may have removed it, or its first segments, since that was read.
      while (!partition || !partition->problems.empty()) {
        TIDELOG_ASSIGN(removed, no_longer_listed(id, replica.incarnation));
        TIDELOG_ASSIGN(const bool begins_later, start_rose(id, replica.incarnation, evidence));
        if (removed || !begins_later) break;
        partition = verify_partition(files_, paths_, id, evidence);
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
  // By file and position.
  using Batches = std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::byte>>;
  struct ReadJournal {
    ReplayedJournal journal;
    Batches batches;
  };

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
  Result<bool> start_rose(const TopicPartition& id, std::uint32_t incarnation,
                          PartitionEvidence& evidence) {
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

  Result<> read_checkpoint(std::size_t logs) {
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
    if (!loaded.any_exists && logs > 0) say(missing_checkpoint(paths_.checkpoint(), logs));
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

  // A broker that runs may add to them, and one that starts may remove some, meanwhile.
  Result<> read_journals(bool holds_logs) {
    for (int attempt = 1;; ++attempt) {
      TIDELOG_ASSIGN(const auto journals, list_journals(files_, paths_));
      TIDELOG_ASSIGN(const auto survey,
                     survey_journals(files_, paths_, journals, checkpoint_.journals, holds_logs));
      journals_.clear();
      std::vector<std::string> problems;
      for (const JournalFiles& journal : journals) {
        TIDELOG_ASSIGN(ReadJournal one, read_one(journal, survey));
        std::ranges::move(problems_of(one.journal), std::back_inserter(problems));
        journals_.push_back(std::move(one));
      }
      for (const std::uint32_t shard : missing_journals(journals, survey.shards)) {
        problems.push_back(missing_sentence(paths_, shard));
      }
      if (!problems.empty() && attempt < kAttemptsMax) continue;
      std::ranges::move(problems, std::back_inserter(report_.problems));
      break;
    }
    for (const ReadJournal& one : journals_) {
      report_.files += one.journal.reader->files().size();
      report_.journal_writes += one.journal.writes.size();
      if (one.journal.generation > 0 || one.journal.rest_unknown) continue;
      for (const auto& file : one.journal.reader->files()) headless_.push_back(file.path);
    }
    return {};
  }

  Result<ReadJournal> read_one(const JournalFiles& journal, const JournalSurvey& survey) {
    Batches batches;
    // Kept: a broker that runs may overwrite them before the segments are read.
    const EntryVisitor keep = [&batches](std::uint64_t, const ReplayEntry& entry,
                                         std::span<const std::byte> bytes) {
      batches[{entry.file, entry.position}].assign(bytes.begin(), bytes.end());
    };
    TIDELOG_ASSIGN(auto replayed, read_journal(files_, paths_, journal, survey, keep));
    return ReadJournal{std::move(replayed), std::move(batches)};
  }

  static std::vector<std::string> problems_of(const ReplayedJournal& journal) {
    std::vector<std::string> problems = journal.problems;
    std::ranges::move(lost_sentences(journal), std::back_inserter(problems));
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
          PartitionEvidence& evidence = evidence_[{entry.entry.id, entry.entry.incarnation}];
          evidence.checkpoint_sequence = checkpointed;
          const auto own = batches.find({entry.file, entry.position});
          evidence.entries.push_back(
              {&entry, write.header.sequence, write.header.sequence <= journal.durable,
               own == batches.end() ? std::span<const std::byte>() : std::span(own->second)});
        }
      }
    }
  }

  PartitionEvidence evidence_of(const TopicPartition& id, std::uint32_t incarnation) const {
    const auto at = evidence_.find({id, incarnation});
    PartitionEvidence evidence = at == evidence_.end() ? PartitionEvidence() : at->second;
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
  std::map<Life, PartitionEvidence> evidence_;
};

}  // namespace

Result<VerifyReport> verify_directory(io::FileSystem& files, const DataPaths& paths) {
  return DirectoryVerifier(files, paths).run();
}

}  // namespace tidelog::log
