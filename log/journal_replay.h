// Reads what a journal holds after a stop: its sound writes, in sequence, and which writes are
// missing though later evidence says that they were complete.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_reader.h"

namespace tidelog::log {

struct ReplayedJournal {
  std::uint32_t shard = 0;
  std::uint64_t journal_id = 0;  // 0: unknown
  std::uint64_t generation = 0;
  std::uint32_t shard_count = 0;

  std::vector<ReplayWrite> writes;  // from `tail` on, rising
  std::uint64_t tail = 0;           // the oldest sequence that counts
  std::uint64_t durable = 0;        // every write up to here was complete
  std::vector<std::uint64_t> lost;  // sequences from tail to durable of which nothing is known
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

// Sees each sound entry with its batches, which go with the call.
using EntryVisitor = std::function<void(std::uint64_t sequence, const ReplayEntry& entry,
                                        std::span<const std::byte> batches)>;

// Reads one journal, all of it, block by block. `checkpointed` says up to which sequence a
// checkpoint knows it to be complete. Memory: the tables of its writes. Fails with kStorageFailed.
Result<ReplayedJournal> read_journal(io::FileSystem& files, const DataPaths& paths,
                                     const JournalFiles& journal,
                                     const std::vector<JournalCheckpoint>& checkpointed,
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

}  // namespace tidelog::log
