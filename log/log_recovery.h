// Recovers one log after a stop: what its segments hold, what the journal adds, what was promised,
// and what to do about the difference (storage.md, recovery). Blocking.
//
// In steps, so that many logs share the reads of a journal and the syncs: find() all of them, read
// what they want(), prepare() them, sync once where one made a file, finish() them, sync once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/data_directory.h"
#include "log/entry_replay.h"
#include "log/log_evidence.h"
#include "log/log_options.h"
#include "log/partition_log_impl.h"
#include "log/segment_filler.h"
#include "log/segment_recovery.h"

namespace tidelog::log {

struct LogRecoveryContext {
  io::FileSystem* files = nullptr;
  const DataPaths* paths = nullptr;
  std::size_t index_interval = 0;
  std::int64_t now_us = 0;
};

struct LogRecovery {
  RecoveredLog log;
  std::uint64_t entries_replayed = 0;
  bool torn = false;  // a torn tail was cut off
  // What it found, or wrote, counts only once sync_all() returned.
  bool unsynced = false;
  std::vector<std::string> problems;
};

// Each step once, in this order. All fail with kStorageFailed, kStorageFull. `context` outlives it.
class LogRecoverer {
 public:
  LogRecoverer(const LogRecoveryContext& context, const TopicPartition& id,
               std::uint32_t incarnation, const PartitionLogSettings& settings,
               LogEvidence evidence);
  LogRecoverer(const LogRecoverer&) = delete;
  LogRecoverer& operator=(const LogRecoverer&) = delete;

  // Looks at the segments; changes nothing but indexes.
  Result<> find();
  // The entries whose batches the next steps need; the caller sets them, and keeps them until
  // finish() returned.
  std::vector<LogEvidence::Entry*> wanted();
  // Cuts off what does not count, and makes the file for what the journal adds. True: that file
  // must be stable, by sync_all(), before finish().
  Result<bool> prepare();
  // Writes what the journal adds, or keeps it in memory where the journal goes on.
  Result<LogRecovery> finish();

 private:
  // Where segments end, as far as they count.
  Offset segments_end() const;
  void judge();
  Result<bool> prepare_lossy();
  void find_end();

  const LogRecoveryContext& context_;
  const PartitionLogSettings settings_;
  LogEvidence evidence_;
  SegmentSearch search_;
  FoundSegments found_;
  SegmentFiller filler_;
  LogRecovery recovery_;
  Offset begin_;  // where a log without segments begins
  Offset promised_;
  std::unique_ptr<EntryReplay> replay_;
  bool lossy_ = false;
  bool half_cut_ = false;
};

}  // namespace tidelog::log
