// The logs of one shard and what they share: journal, destager, caches, checkpoints, free space.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <unordered_map>
#include <vector>

#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/cold_reader.h"
#include "log/destager.h"
#include "log/directory_failure.h"
#include "log/journal.h"
#include "log/log_store.h"
#include "log/open_segments.h"
#include "log/partition_directories.h"
#include "log/partition_log_impl.h"
#include "log/segment_remover.h"
#include "log/shard_context.h"
#include "log/tail_cache.h"

namespace tidelog::log {

class ShardLogsImpl final : public ShardLogs, public JournalEvents {
 public:
  struct Parts {
    ShardEnvironment environment;
    io::FileSystem* files = nullptr;
    DataPaths paths;
    ShardLogOptions options;
    std::size_t shard = 0;
    PartitionDirectories* directories = nullptr;
    Catalog* catalog = nullptr;
    CheckpointFile* checkpoint = nullptr;
    DirectoryFailure* failure = nullptr;
    StoredJournal journal;
    std::vector<RecoveredLog> logs;
    io::FileSystem::Space space;
  };
  ShardLogsImpl(Parts parts,
                const std::function<PartitionLogSettings(const TopicPartition&)>& settings_of);
  ~ShardLogsImpl() override;

  PartitionLog* find(const TopicPartition& id) override;
  std::vector<PartitionLog*> all() override;
  void create(const TopicPartition& id, const PartitionLogSettings& settings,
              CreateCallback done) override;
  void remove(const TopicPartition& id, DoneCallback done) override;
  void end_of_turn() override;
  void close(DoneCallback done) override;
  Counters counters() const override;

  // Whether close() left what a clean-stop marker says. Any thread, once the shard's has ended.
  bool closed_cleanly() const { return context_.clean; }

  // JournalEvents
  void journal_wants_space(std::uint64_t sequence, bool full) override;
  void journal_lacks_space(int writes) override;
  void journal_failed(const Error& error) override { fail_directory(error); }

 private:
  struct Creation {
    TopicPartition id;
    PartitionLogSettings settings;
    CreateCallback done;
  };
  struct Removal {
    TopicPartition id;
    DoneCallback done;
  };
  struct RemovalRound {
    std::vector<Removal> removals;
    std::size_t gone = 0;  // so many, the first ones: their files are not there any more
  };
  using RemovalRoundPtr = std::shared_ptr<RemovalRound>;

  void start_timers();
  void start_retention();
  void change_catalog();
  // Answers what waits for a change of the catalog.
  void refuse_changes(const Error& error);
  void create_all();
  void remove_all();
  void remove_files(const RemovalRoundPtr& round);
  void strike_out(const RemovalRoundPtr& round, const Result<>& result);
  void end_removals(const RemovalRoundPtr& round, const Result<>& result);
  void apply_to_catalog(std::vector<Catalog::Change> changes,
                        std::move_only_function<void(Result<>)> then);
  void remove_later(std::vector<Removal> removals);
  void finish_creation(Creation creation, const Result<std::uint32_t>& incarnation);
  void fail_directory(const Error& error);
  void check_space();
  void set_space(const io::FileSystem::Space& space);
  // Writes a checkpoint of now; checkpoints of one shard never overtake each other.
  void checkpoint(std::move_only_function<void()> done);
  void start_checkpoint();
  bool checkpointed() const;
  CheckpointContent checkpoint_content() const;
  void drive_close();
  // Closes without space: ends when nothing is under way but what waits for some.
  void give_up();
  // Ends close(), which did not come to rest.
  void end_close(const Result<>& result);
  void finish_close();

  ShardContext context_;
  std::size_t shard_;
  PartitionDirectories& directories_;
  Catalog& catalog_;
  CheckpointFile& checkpoint_file_;
  DirectoryFailure& failure_;
  TailCache tail_cache_;
  OpenSegments open_segments_;
  ColdReader cold_reader_;
  Destager destager_;
  SegmentRemover remover_;
  Journal journal_;
  std::unordered_map<TopicPartition, std::shared_ptr<PartitionLogImpl>> logs_;

  std::vector<Creation> creations_;        // wait for the next change of the catalog
  std::vector<Removal> removals_;          // ended, wait for it too
  std::map<TopicPartition, int> leaving_;  // removed, files not gone yet
  std::vector<std::shared_ptr<PartitionLogImpl>> retiring_;  // of those, not at rest yet
  bool removals_wait_ = false;                               // for space
  bool changing_catalog_ = false;
  bool removing_ = false;          // files, or about to
  std::stop_source removal_stop_;  // requested when closing
  int journal_lacking_ = 0;        // writes of the journal that found no space
  std::vector<std::move_only_function<void()>> checkpoint_waiters_;
  bool checkpointing_ = false;
  CheckpointContent stored_;  // by the last one
  int stored_copies_ = 0;     // how many in a row stored just that
  bool checking_space_ = false;
  TimerId checkpoint_timer_ = 0;
  TimerId retention_timer_ = 0;
  DoneCallback close_done_;
  bool finishing_close_ = false;
};

}  // namespace tidelog::log
