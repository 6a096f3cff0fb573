#include "log/log_store.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"
#include "base/logging.h"
#include "log/directory_failure.h"
#include "log/io/storage_error.h"
#include "log/recovery.h"
#include "log/rules.h"
#include "log/shard_logs.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kJournalBytesLeast = std::uint64_t{64} << 10;

class LogStoreImpl final : public LogStore {
 public:
  LogStoreImpl(io::FileSystem& files, std::unique_ptr<DataDirectory> directory, std::size_t shards)
      : directory_(std::move(directory)),
        partition_directories_(files, directory_->paths()),
        catalog_(files, directory_->paths().catalog()),
        checkpoint_(files, directory_->paths().checkpoint(), shards) {}

  const DirectoryIdentity& identity() const override { return directory_->identity(); }
  const RecoverySummary& recovery() const override { return summary_; }
  ShardLogs& shard(std::size_t index) override { return *shards_[index]; }
  std::optional<Error> failure() const override { return failure_.error(); }

  Result<> finish_clean_stop() override {
    // Each shard's last checkpoint, taken when it was at rest, holds the ends of its logs.
    if (std::ranges::all_of(shards_, &ShardLogsImpl::closed_cleanly) ||
        broken(Rule::kMarkerOnlyWhenTrue)) {
      TIDELOG_TRY(write_marker());
    } else {
      log_warning(
          fmt::format("{}: no space for a clean stop; the next start recovers as after a "
                      "crash",
                      directory_->paths().root));
    }
    shards_.clear();
    directory_.reset();
    return {};
  }

  // Without space the next start does without it.
  Result<> write_marker() {
    const auto written = directory_->write_marker(checkpoint_.content());
    if (written || io::is_final(written.error())) return written;
    log_warning(fmt::format("no clean-stop marker: {}", written.error().to_string()));
    return directory_->remove_marker();
  }

  std::unique_ptr<DataDirectory> directory_;
  PartitionDirectories partition_directories_;
  Catalog catalog_;
  CheckpointFile checkpoint_;
  DirectoryFailure failure_;
  RecoverySummary summary_;
  std::vector<std::unique_ptr<ShardLogsImpl>> shards_;
};

Result<> check_options(const LogStoreOptions& options) {
  const ShardLogOptions& shard = options.shard;
  if (shard.journal_bytes_min < kJournalBytesLeast ||
      shard.journal_bytes_min % io::kBlockBytes != 0 ||
      shard.journal_bytes_max < shard.journal_bytes_min) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the journal cannot have {} to {} bytes: at least {}, whole blocks",
                            shard.journal_bytes_min, shard.journal_bytes_max, kJournalBytesLeast));
  }
  return {};
}

}  // namespace

Result<bool> LogStore::exists(io::FileSystem& files, const std::string& path) {
  const DataPaths paths{path};
  TIDELOG_ASSIGN(const bool is_there, files.exists(paths.root));
  return is_there ? needs_catalog(files, paths) : Result<bool>(false);
}

Result<std::unique_ptr<LogStore>> LogStore::open(
    io::FileSystem& files, const LogStoreOptions& options, std::vector<ShardEnvironment> shards,
    std::function<std::size_t(const TopicPartition&)> shard_of,
    std::function<PartitionLogSettings(const TopicPartition&)> settings_of) {
  TIDELOG_CHECK(!shards.empty(), "a log store has shards");
  TIDELOG_TRY(check_options(options));
  TIDELOG_ASSIGN(auto directory, DataDirectory::take(files, options));
  for (const ShardEnvironment& shard : shards) TIDELOG_TRY(shard.queue->hold(directory->lock()));
  auto store = std::make_unique<LogStoreImpl>(files, std::move(directory), shards.size());
  const std::int64_t now_us = shards.front().executor->clock().wall_us();
  TIDELOG_ASSIGN(RecoveryOutcome recovered, recover({.files = &files,
                                                     .directory = store->directory_.get(),
                                                     .catalog = &store->catalog_,
                                                     .checkpoint = &store->checkpoint_,
                                                     .options = options.shard,
                                                     .shards = shards.size(),
                                                     .shard_of = shard_of,
                                                     .settings_of = settings_of,
                                                     .now_us = now_us,
                                                     .on_progress = options.on_recovery_progress}));
  store->summary_ = std::move(recovered.summary);
  for (const std::string& problem : store->summary_.problems) log_warning(problem);
  TIDELOG_ASSIGN(const io::FileSystem::Space space, files.space(options.path));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    store->shards_.push_back(std::make_unique<ShardLogsImpl>(
        ShardLogsImpl::Parts{.environment = shards[i],
                             .files = &files,
                             .paths = store->directory_->paths(),
                             .options = options.shard,
                             .shard = i,
                             .directories = &store->partition_directories_,
                             .catalog = &store->catalog_,
                             .checkpoint = &store->checkpoint_,
                             .failure = &store->failure_,
                             .journal = std::move(recovered.journals[i]),
                             .logs = std::move(recovered.logs[i]),
                             .space = space},
        settings_of));
  }
  return store;
}

}  // namespace tidelog::log
