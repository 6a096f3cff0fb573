// For the command line: proves a data directory or a file of it, and shows what a file holds. Reads
// only, and may run beside a broker: what is just being written is no problem.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "wire/record_batch.h"

namespace tidelog::log {

// What one partition's directory, or one segment file, holds.
struct PartitionReport {
  std::string path;
  TopicPartition id;
  std::uint64_t segments = 0;
  std::uint64_t batches = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  // of the batches
  Offset first;
  Offset end;
  std::vector<std::string> problems;  // one sentence each, with file and byte
  // What is worth knowing and no damage: files that an earlier recovery set aside.
  std::vector<std::string> notes;
};

struct VerifyReport {
  std::vector<PartitionReport> partitions;
  std::uint64_t files = 0;            // read
  std::uint64_t journal_writes = 0;   // sound ones
  std::vector<std::string> problems;  // of journals, catalog, meta, checkpoint, marker

  bool ok() const;
};

// Verifies every checksum of what `path` names: a data directory, a partition's directory or a
// single file. Blocking. Fails with kNotFound, kInvalidArgument (no file of Tidelog's),
// kStorageFailed.
Result<VerifyReport> verify_path(io::FileSystem& files, const std::string& path);

// One thing in a file: a header, a write, an entry, a batch, a replica.
struct DumpItem {
  std::string kind;  // "segment", "write", "batch", "journal", "entry", "catalog", "replica",
                     // "checkpoint", ...
  std::uint64_t position = 0;  // byte in the file
  std::vector<std::pair<std::string, std::string>> fields;
  std::optional<wire::BatchHeader> batch;  // of a batch
  std::span<const std::byte> records;      // of a batch, as stored; valid during the callback
  std::string problem;                     // empty: sound
};
using DumpCallback = std::function<void(const DumpItem&)>;

// Shows a segment, journal, index, catalog, checkpoint, meta or clean-stop file item by item, in
// the order of the file. Blocking. Fails with kNotFound, kInvalidArgument, kStorageFailed.
Result<> dump_file(io::FileSystem& files, const std::string& path, const DumpCallback& show);

}  // namespace tidelog::log
