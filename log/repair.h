// Ends what only a person may end: a data directory that refuses to start, or logs that lost
// acknowledged records and take none any more. Nothing is given up that was not told before.
//
// Repair first recovers the directory as a start does, which loses nothing. Then find() tells what
// is missing, and accept() writes down that it is: a log goes on behind what it lost, and the lost
// range stays a recorded hole that reads report. Bytes that are there stay where they are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/partition_log.h"

namespace tidelog::log {

// What one log lost.
struct PartitionLoss {
  TopicPartition id;
  std::string path;
  std::vector<Hole> lost;  // acknowledged and not there; may be empty: how much is not known
  Offset end;              // where the log goes on
};

// One thing to accept.
struct RepairFinding {
  std::string what;  // a sentence: what is missing, and what accepting it does
  std::vector<PartitionLoss> partitions;
};

// Blocking. Thread: one. Holds the directory while it lives.
class Repair {
 public:
  virtual ~Repair() = default;

  // Fails with kNotFound, kDirectoryInUse (a broker runs on it; the message names its process),
  // kCorruptData (meta is unsound in both copies: whose directory it is cannot be guessed),
  // kStorageFailed, kStorageFull.
  static Result<std::unique_ptr<Repair>> open(io::FileSystem& files, const std::string& path);

  // The next thing to accept; nullopt: nothing (more) is missing. Fails with kCorruptData (what
  // cannot be repaired), kStorageFailed, kStorageFull.
  virtual Result<std::optional<RepairFinding>> find() = 0;
  // Does what the last find() told, and nothing else; stable on return. REQUIRES: it told of
  // something. Fails with kCorruptData, kStorageFailed, kStorageFull; then find() tells it again.
  virtual Result<> accept() = 0;
};

}  // namespace tidelog::log
