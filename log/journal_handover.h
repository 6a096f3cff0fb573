// What a start does with the journals that it found: they go on as they are, when the stop left
// them whole and nothing about their shards changed; else they begin anew, under new ids. Blocking.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/checkpoint.h"
#include "log/data_directory.h"
#include "log/journal_replay.h"
#include "log/log_options.h"
#include "log/stored_journal.h"

namespace tidelog::log {

struct JournalHandover {
  io::FileSystem* files = nullptr;
  const DataPaths* paths = nullptr;
  std::uint64_t journal_bytes_min = 0;
  std::size_t shards = 1;
};

// The journals by shard, to go on behind `replayed`, which are all journals of the directory;
// nullopt when one of them cannot: other shards, other sizes, damage, a write that is missing or
// torn, or an entry of a log that is another shard's now, as `misplaced` says. After a clean stop
// each must end as its marker, `marked`, says; after a crash (nullopt) none may hold a truncation.
// Changes nothing. REQUIRES: what was read is stable.
// Fails with kStorageFailed.
Result<std::optional<std::vector<StoredJournal>>> adopt_journals(
    const JournalHandover& handover, std::span<const ReplayedJournal> replayed,
    std::optional<std::span<const JournalCheckpoint>> marked,
    const std::function<bool(const JournalEntry&, std::size_t shard)>& misplaced);

// Gives each journal of a shard of today a new id, making those that are missing, and removes the
// others. REQUIRES: nothing in them is needed. Stable on return. Fails with kStorageFull,
// kStorageFailed.
Result<std::vector<StoredJournal>> renew_journals(const JournalHandover& handover,
                                                  std::span<const JournalFiles> journals);

}  // namespace tidelog::log
