#include "log/repair.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/check.h"
#include "base/random.h"
#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_file.h"
#include "log/journal_replay.h"
#include "log/partition_directories.h"
#include "log/recovery.h"
#include "log/separate_overlap.h"

namespace tidelog::log {
namespace {

// A broker makes it as large as it wants it.
constexpr std::uint64_t kJournalBytes = std::uint64_t{64} << 10;

enum class Stage : std::uint8_t { kCatalog, kJournal, kLogs, kDone };

class RepairImpl final : public Repair {
 public:
  RepairImpl(io::FileSystem& files, std::unique_ptr<DataDirectory> directory)
      : files_(files),
        directory_(std::move(directory)),
        paths_(directory_->paths()),
        catalog_(files, paths_.catalog()),
        checkpoint_(files, paths_.checkpoint(), 1) {}

  Result<std::optional<RepairFinding>> find() override {
    // A recovery that ended at one stage may have made the next one visible.
    for (stage_ = Stage::kCatalog; stage_ != Stage::kDone;
         stage_ = static_cast<Stage>(static_cast<int>(stage_) + 1)) {
      TIDELOG_ASSIGN(auto finding, find_in(stage_));
      if (finding) return finding;
    }
    return std::nullopt;
  }

  Result<> accept() override {
    switch (stage_) {
      case Stage::kCatalog:
        return catalog_.replace(std::move(rebuilt_));
      case Stage::kJournal:
        return make_journal();
      case Stage::kLogs:
        return accept_losses();
      case Stage::kDone:
        break;
    }
    TIDELOG_CHECK(false, "there is something to accept");
    return {};
  }

 private:
  Result<std::optional<RepairFinding>> find_in(Stage stage) {
    switch (stage) {
      case Stage::kCatalog:
        return find_catalog();
      case Stage::kJournal:
        return find_journal();
      case Stage::kLogs:
        return find_losses();
      case Stage::kDone:
        break;
    }
    return std::nullopt;
  }

  // --- The catalog.

  Result<std::optional<RepairFinding>> find_catalog() {
    TIDELOG_ASSIGN(const auto loaded, catalog_.load());
    if (loaded.sound) return std::nullopt;
    // A start makes it by itself where there never was anything to list.
    TIDELOG_ASSIGN(const bool needed, needs_catalog(files_, paths_));
    if (!needed) return std::nullopt;
    TIDELOG_TRY(rebuild_catalog());
    return RepairFinding{
        fmt::format("{} is {}; it would be made anew with the {} partitions that directories and "
                    "checkpoint know. One that was being deleted may be back, and losses accepted "
                    "before are asked about again",
                    paths_.catalog(), loaded.any_exists ? "damaged" : "missing",
                    rebuilt_.replicas.size()),
        {}};
  }

  Result<> rebuild_catalog() {
    rebuilt_ = {};
    const auto add = [this](const TopicPartition& id, std::uint32_t incarnation) {
      auto& entry = rebuilt_.replicas[id];
      entry.incarnation = std::max(entry.incarnation, incarnation);
      rebuilt_.next_incarnation = std::max(rebuilt_.next_incarnation, incarnation + 1);
    };
    TIDELOG_ASSIGN(const auto marker, directory_->read_marker());
    TIDELOG_ASSIGN(const auto checkpoint, checkpoint_.load());
    for (const auto* content : {marker ? &*marker : nullptr, &checkpoint.content}) {
      if (content == nullptr) continue;
      for (const LogCheckpoint& log : content->logs) add(log.id, log.incarnation);
    }
    TIDELOG_ASSIGN(const auto found, PartitionDirectories(files_, paths_).list());
    for (const TopicPartition& id : found) add(id, 1);
    TIDELOG_ASSIGN(const auto journals, list_journals(files_, paths_));
    TIDELOG_ASSIGN(const auto survey,
                   survey_journals(files_, paths_, journals,
                                   marker ? marker->journals : checkpoint.content.journals,
                                   /*holds_logs=*/true));
    for (const JournalFiles& journal : journals) {
      TIDELOG_ASSIGN(const auto replayed, read_journal(files_, paths_, journal, survey));
      for (const ReplayWrite& write : replayed.writes) {
        for (const ReplayEntry& entry : write.entries) {
          // Of a partition that is nowhere else: it was deleted.
          if (rebuilt_.replicas.contains(entry.entry.id)) {
            add(entry.entry.id, entry.entry.incarnation);
          }
        }
      }
    }
    return {};
  }

  // --- The journal.

  Result<std::optional<RepairFinding>> find_journal() {
    TIDELOG_ASSIGN(const auto journals, list_journals(files_, paths_));
    const auto replicas = catalog_.replicas();
    if (!journals.empty() || replicas.empty()) return std::nullopt;
    RepairFinding finding{
        fmt::format("{} holds no journal; with it the newest records of {} partitions may be lost, "
                    "and nothing says how many. An empty one would be made, and each log would "
                    "end where its segments do",
                    paths_.journals(), replicas.size()),
        {}};
    return finding;
  }

  Result<> make_journal() {
    TIDELOG_TRY(files_.make_directories(paths_.journals()));
    TIDELOG_TRY(files_.sync_directory(paths_.root));
    JournalFileHeader header;
    header.generation = 1;
    header.journal_id = random_id();
    header.file_bytes = kJournalBytes;
    header.shard_count = 1;
    header.ring_files = 1;
    TIDELOG_TRY(create_journal_file(files_, paths_.journal_file(0, 0), header));
    return {};
  }

  // --- Logs.

  Result<std::optional<RepairFinding>> find_losses() {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    TIDELOG_ASSIGN(
        RecoveryOutcome outcome,
        recover({.files = &files_,
                 .directory = directory_.get(),
                 .catalog = &catalog_,
                 .checkpoint = &checkpoint_,
                 .options = {.journal_bytes_min = kJournalBytes},
                 .shards = 1,
                 .shard_of = [](const TopicPartition&) { return std::size_t{0}; },
                 .settings_of = [](const TopicPartition&) { return PartitionLogSettings(); },
                 .now_us = now.count(),
                 .renews_journals = true}));
    logs_ = std::move(outcome.logs.front());
    RepairFinding finding;
    const auto replicas = catalog_.replicas();
    for (const RecoveredLog& log : logs_) {
      if (log.health != LogHealth::kLossy) continue;
      PartitionLoss loss{log.id, paths_.partition(log.id), {}, log.end};
      const std::vector<Hole>& accepted = replicas.at(log.id).accepted;
      std::ranges::copy_if(log.holes, std::back_inserter(loss.lost),
                           [&](const Hole& hole) { return !covers(accepted, hole); });
      finding.partitions.push_back(std::move(loss));
    }
    if (finding.partitions.empty()) return std::nullopt;
    finding.what = fmt::format(
        "{} lost acknowledged records; each log would go on behind what it lost, which stays "
        "recorded and is refused to readers",
        finding.partitions.size() == 1 ? "a partition"
                                       : fmt::format("{} partitions", finding.partitions.size()));
    return finding;
  }

  Result<> accept_losses() {
    std::vector<Catalog::Acceptance> losses;
    std::vector<CheckpointContent> parts(1);
    for (RecoveredLog& log : logs_) {
      const bool lossy = log.health == LogHealth::kLossy;
      if (lossy) {
        TIDELOG_TRY(separate_overlaps(files_, paths_, log));
        losses.push_back({log.id, log.holes});
      }
      parts[0].logs.push_back({.id = log.id,
                               .incarnation = log.incarnation,
                               .log_start = log.log_start,
                               // A lossy one is looked at from its beginning once more.
                               .recovery_point = lossy ? log.log_start : log.end,
                               .durable_end = log.end,
                               .high_watermark = log.high_watermark,
                               .lossy = false});
    }
    std::ranges::sort(parts[0].logs, {}, &LogCheckpoint::id);
    // The catalog first: a log whose loss is not recorded stays LOSSY.
    TIDELOG_TRY(catalog_.accept(losses));
    return checkpoint_.store_all(std::move(parts));
  }

  io::FileSystem& files_;
  std::unique_ptr<DataDirectory> directory_;
  const DataPaths& paths_;
  Catalog catalog_;
  CheckpointFile checkpoint_;
  Stage stage_ = Stage::kDone;
  CatalogContent rebuilt_;
  std::vector<RecoveredLog> logs_;
};

}  // namespace

Result<std::unique_ptr<Repair>> Repair::open(io::FileSystem& files, const std::string& path) {
  TIDELOG_ASSIGN(auto directory, DataDirectory::take_existing(files, path));
  return std::make_unique<RepairImpl>(files, std::move(directory));
}

}  // namespace tidelog::log
