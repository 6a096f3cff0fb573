// Reads what a journal holds after a stop: its sound writes, in sequence, and which writes are
// missing though later evidence says that they were complete.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_reader.h"

namespace tidelog::log {

// What is known of all journals of a directory before the writes of one are read.
struct JournalSurvey {
  std::uint32_t shards = 0;          // the most that a header names: each of them has a journal
  std::set<std::uint64_t> ids;       // of the journals that have a sound header
  std::set<std::uint32_t> headless;  // shards whose journal has none
  std::vector<JournalCheckpoint> checkpointed;  // what a checkpoint says of them
  // The catalog lists logs: the first shard has had a journal since before they were made.
  bool holds_logs = false;
};

// Sequences, both of them included.
struct LostWrites {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

struct ReplayedJournal {
  std::uint32_t shard = 0;
  std::uint64_t journal_id = 0;  // 0: unknown
  std::uint64_t generation = 0;
  std::uint32_t shard_count = 0;
  std::uint32_t ring_files = 0;  // that a header names

  std::vector<ReplayWrite> writes;  // from `tail` on, rising
  std::uint64_t tail = 0;           // the oldest sequence that counts
  std::uint64_t durable = 0;        // every write up to here was complete
  std::vector<LostWrites> lost;     // from tail to durable, of which nothing is known; rising
  // A file is missing, short or without a header, or the newest write that was complete is gone:
  // what else was in it, and for whom, nothing says. `problems` tells it.
  bool rest_unknown = false;
  // Where each sound write stands, and where each lost one stood whose predecessor is there.
  std::map<std::uint64_t, std::uint64_t> places;
  std::vector<std::string> problems;

  std::unique_ptr<JournalReader> reader;  // gives the batches of the entries
};

// The journals in `<data>/journal`, by shard, unread. Fails with kStorageFailed.
Result<std::vector<JournalFiles>> list_journals(io::FileSystem& files, const DataPaths& paths);

// The shards, of the `named` that journals name, that have no journal among `journals`; rising.
std::vector<std::uint32_t> missing_journals(std::span<const JournalFiles> journals,
                                            std::uint32_t named);
std::string missing_sentence(const DataPaths& paths, std::uint32_t shard);

// Reads the headers of `journals`, which are all of the directory. Fails with kStorageFailed.
Result<JournalSurvey> survey_journals(io::FileSystem& files, const DataPaths& paths,
                                      std::span<const JournalFiles> journals,
                                      std::vector<JournalCheckpoint> checkpointed, bool holds_logs);

// Sees each sound entry with its batches, which go with the call.
using EntryVisitor = std::function<void(std::uint64_t sequence, const ReplayEntry& entry,
                                        std::span<const std::byte> batches)>;

// Reads one journal, all of it, block by block. Without a sound header its id is the one that the
// checkpoint names and that no other journal has, where writes of it are there. Memory: the tables
// of its writes. Fails with kStorageFailed.
Result<ReplayedJournal> read_journal(io::FileSystem& files, const DataPaths& paths,
                                     const JournalFiles& journal, const JournalSurvey& survey,
                                     const EntryVisitor& visit = nullptr);

// The same after a clean stop, from the oldest write that its marker names on to the last one; what
// lies elsewhere in the files is not read. Nullopt where anything is not as `marked` says. Fails
// with kStorageFailed.
Result<std::optional<ReplayedJournal>> read_marked_journal(
    io::FileSystem& files, const DataPaths& paths, const JournalFiles& journal,
    const std::vector<JournalCheckpoint>& marked);

// "<path>: byte N" of the write with this sequence, for messages; where its place is not known the
// path of the first file.
std::string write_place(const ReplayedJournal& journal, std::uint64_t sequence);
// A sentence for each run of lost writes.
std::vector<std::string> lost_sentences(const ReplayedJournal& journal);

}  // namespace tidelog::log
