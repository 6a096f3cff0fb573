// Reads what a journal holds after a stop: its sound writes, in sequence, and which writes are
// missing though later evidence says that they were complete.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/result.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_file.h"
#include "log/journal_format.h"

namespace tidelog::log {

// An entry whose table is sound. `batches` is empty when the bytes do not verify.
struct ReplayEntry {
  JournalEntry entry;
  bool sound = false;
  std::span<const std::byte> batches;  // in memory of the ReplayedJournal
};

struct ReplayWrite {
  WriteHeader header;
  std::vector<ReplayEntry> entries;
};

struct ReplayedJournal {
  std::uint32_t shard = 0;
  std::uint64_t journal_id = 0;  // 0: unknown
  std::uint64_t generation = 0;
  std::uint32_t shard_count = 0;
  std::vector<std::string> paths;  // of all its files, by number
  std::vector<Buffer> memory;      // what `batches` point into

  std::vector<ReplayWrite> writes;  // from `tail` on, rising
  std::uint64_t tail = 0;           // the oldest sequence that counts
  std::uint64_t durable = 0;        // every write up to here was complete
  std::vector<std::uint64_t> lost;  // sequences from tail to durable of which nothing is known
  std::vector<std::string> problems;
};

// The journals in `<data>/journal`, by shard, unread. Fails with kStorageFailed.
struct JournalFiles {
  std::uint32_t shard = 0;
  std::vector<std::uint32_t> numbers;  // rising
};
Result<std::vector<JournalFiles>> list_journals(io::FileSystem& files, const DataPaths& paths);

// The shards, of the `named` that journals name, that have no journal among `journals`; rising.
std::vector<std::uint32_t> missing_journals(std::span<const JournalFiles> journals,
                                            std::uint32_t named);
std::string missing_sentence(const DataPaths& paths, std::uint32_t shard);

// Reads one journal. `checkpointed` says up to which sequence a checkpoint knows it to be complete.
// Fails with kStorageFailed.
Result<ReplayedJournal> read_journal(io::FileSystem& files, const DataPaths& paths,
                                     const JournalFiles& journal,
                                     const std::vector<JournalCheckpoint>& checkpointed);

}  // namespace tidelog::log
