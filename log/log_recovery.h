// Recovers one log after a stop: what its segments hold, what the journal adds, what was promised,
// and what to do about the difference (storage.md, recovery). Blocking.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_replay.h"
#include "log/log_options.h"
#include "log/partition_log_impl.h"

namespace tidelog::log {

// What is known of a log beside its segments.
struct LogEvidence {
  std::optional<LogCheckpoint> checkpoint;
  // Checkpoint's journal sequence in the journal below: entries up to it are older than the
  // checkpoint.
  std::uint64_t checkpoint_sequence = 0;
  // The last stop was clean: `checkpoint` holds the end, and nothing is scanned.
  bool clean = false;
  // The journal is taken over as it is: what it holds beyond the segments stays there.
  bool journal_goes_on = false;

  struct Entry {
    const ReplayEntry* entry = nullptr;
    std::uint64_t sequence = 0;
    std::uint64_t durable_before = 0;  // journal sequence complete when it was submitted
  };
  std::vector<Entry> entries;  // of this log and life, in sequence
  std::uint64_t journal_durable = 0;
  // Journal writes that were complete and are lost; which logs they concerned is not known.
  std::vector<std::uint64_t> journal_lost;
  // Losses that a person accepted: the log goes on behind each.
  std::vector<Hole> accepted;
};

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
  // What it found counts only once sync_all_names() returned.
  bool names_unsynced = false;
  std::vector<std::string> problems;
};

// Fails with kStorageFailed, kStorageFull.
Result<LogRecovery> recover_log(const LogRecoveryContext& context, const TopicPartition& id,
                                std::uint32_t incarnation, const PartitionLogSettings& settings,
                                const LogEvidence& evidence);

}  // namespace tidelog::log
