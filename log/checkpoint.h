// What was known to be stable of every log at one moment: evidence for recovery, never ahead of the
// data. The clean-stop marker has the same body and stands for the ends of all logs.
//
// Body: u32 journals; u32 logs; then
//   journal: u64 journal id; u64 its durable sequence; u64 the oldest sequence whose space is not
//            free; u64 where that write begins, file number << 48 | byte (0 and 0: none)
//   log:     0 16 bytes topic id; 16 i32 partition; 20 u32 incarnation;
//            24 i64 log start; 32 i64 recovery point: everything below is stable in segments;
//            40 i64 durable end; 48 i64 high watermark;
//            56 u32 flags (bit 0: acknowledged records are missing); 60 u32 zero
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/slot_file.h"

namespace tidelog::log {

inline constexpr std::uint32_t kCheckpointMagic = 0x4B444954;  // "TIDK"
inline constexpr std::uint32_t kCleanStopMagic = 0x45444954;   // "TIDE"

struct JournalCheckpoint {
  std::uint64_t journal_id = 0;
  std::uint64_t durable_sequence = 0;
  // Where a start after a clean stop begins to read; after a crash it counts for nothing.
  std::uint64_t oldest_sequence = 0;
  std::uint64_t oldest_position = 0;

  bool operator==(const JournalCheckpoint&) const = default;
};

struct LogCheckpoint {
  TopicPartition id;
  std::uint32_t incarnation = 0;
  Offset log_start;
  Offset recovery_point;
  Offset durable_end;
  Offset high_watermark;
  bool lossy = false;

  bool operator==(const LogCheckpoint&) const = default;
};

struct CheckpointContent {
  std::vector<JournalCheckpoint> journals;
  std::vector<LogCheckpoint> logs;

  bool operator==(const CheckpointContent&) const = default;
};
std::vector<std::byte> encode_checkpoint(const CheckpointContent& content);
std::optional<CheckpointContent> decode_checkpoint(std::span<const std::byte> body);

// A start writes one before it takes the first log: without any, what only it knew is lost.
std::string missing_checkpoint(const std::string& path, std::size_t logs);

// Gathers what each shard knows and writes it. Thread: any; calls may block.
class CheckpointFile {
 public:
  CheckpointFile(io::FileSystem& files, const std::string& path, std::size_t shards)
      : file_(files, path, kCheckpointMagic, SlotPolicy::kAlternate), parts_(shards) {}

  struct Loaded {
    CheckpointContent content;  // empty when there is none
    bool exists = false;        // a copy, sound or not
    std::vector<std::string> problems;
  };
  Result<Loaded> load();

  // Replaces what `shard` said and writes everything; stable on return.
  // Fails with kStorageFull, kStorageFailed.
  Result<> store(std::size_t shard, CheckpointContent part);
  // The same for all shards at once. REQUIRES: one part for each.
  Result<> store_all(std::vector<CheckpointContent> parts);
  // Everything said so far.
  CheckpointContent content() const;

 private:
  CheckpointContent merged() const;

  mutable std::mutex mutex_;
  SlotFile file_;
  std::vector<CheckpointContent> parts_;
};

}  // namespace tidelog::log
