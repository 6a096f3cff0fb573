// The logs of one shard and what they share: journal, destager, caches, checkpoints, free space.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "log/checkpoint.h"
#include "log/cold_reader.h"
#include "log/destager.h"
#include "log/directory_failure.h"
#include "log/journal.h"
#include "log/log_changes.h"
#include "log/log_store.h"
#include "log/open_segments.h"
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
  void journal_lacks_space(int writes) override;
  void journal_failed(const Error& error) override { fail_directory(error); }

 private:
  void start_timers();
  void start_retention();
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
  CheckpointFile& checkpoint_file_;
  DirectoryFailure& failure_;
  TailCache tail_cache_;
  OpenSegments open_segments_;
  ColdReader cold_reader_;
  Destager destager_;
  SegmentRemover remover_;
  Journal journal_;
  std::unordered_map<TopicPartition, std::shared_ptr<PartitionLogImpl>> logs_;
  LogChanges changes_;

  int journal_lacking_ = 0;  // writes of the journal that found no space
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
