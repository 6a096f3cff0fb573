// Brings a data directory into a state in which appends may go on: every log recovered; the
// journals taken over as they are where the stop left them whole (a clean one always, kill -9 as a
// rule), else emptied into segments and given new ids. STORAGE.md tells the algorithm. Blocking.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/result.h"
#include "log/catalog.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/log_store.h"
#include "log/partition_log_impl.h"
#include "log/stored_journal.h"

namespace tidelog::log {

struct RecoveryRequest {
  io::FileSystem* files = nullptr;
  DataDirectory* directory = nullptr;
  Catalog* catalog = nullptr;
  CheckpointFile* checkpoint = nullptr;
  ShardLogOptions options;
  std::size_t shards = 1;
  std::function<std::size_t(const TopicPartition&)> shard_of;
  std::function<PartitionLogSettings(const TopicPartition&)> settings_of;
  std::int64_t now_us = 0;
  std::function<void(const RecoveryProgress&)> on_progress{};  // with every step; may be empty
  // Also journals that could go on as they are begin anew: everything is in segments then.
  bool renews_journals = false;
};

struct RecoveryOutcome {
  RecoverySummary summary;
  std::vector<std::vector<RecoveredLog>> logs;  // by shard
  std::vector<StoredJournal> journals;          // by shard
};

// Fails with kCorruptData, kStorageFailed, kStorageFull.
Result<RecoveryOutcome> recover(const RecoveryRequest& request);

}  // namespace tidelog::log
