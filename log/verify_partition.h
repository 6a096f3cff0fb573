// Checks one log of a data directory against everything that is known of it beside its segments.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/inspect.h"
#include "log/journal_reader.h"

namespace tidelog::log {

struct VerifiedEntry {
  const ReplayEntry* entry = nullptr;
  std::uint64_t sequence = 0;
  bool complete = false;
  std::span<const std::byte> batches;  // as they were read with the entry
};

// What is known of one log before its segments are read.
struct PartitionEvidence {
  std::optional<LogCheckpoint> checkpoint;
  bool clean = false;  // the checkpoint is the clean-stop marker: it names the exact end
  std::uint64_t checkpoint_sequence = 0;
  std::vector<VerifiedEntry> entries;  // in sequence
  std::vector<Hole> accepted;          // as lost, by a person
};

// Reads all of the log's segments; changes nothing. A broker may run beside it. Blocking. Fails
// with kStorageFailed.
Result<PartitionReport> verify_partition(io::FileSystem& files, const DataPaths& paths,
                                         const TopicPartition& id,
                                         const PartitionEvidence& evidence);

}  // namespace tidelog::log
