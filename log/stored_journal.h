// A shard's journal as a start hands it to the shard: its files, and the writes in them whose space
// is not free yet. A renewed journal has none; one that a clean stop left goes on as it is.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "log/journal_file.h"
#include "log/journal_ring.h"

namespace tidelog::log {

struct StoredWrite {
  std::uint64_t sequence = 0;
  JournalRing::Place place;
  std::uint64_t bytes = 0;  // whole blocks
};

struct StoredJournal {
  std::vector<JournalFile> files;   // of one id and generation, in the order of their numbers
  std::vector<StoredWrite> writes;  // dense and rising in sequence, all complete
  std::uint64_t told_tail = 0;      // the highest tail that a header of theirs names
};

// Says that a log needs the journal write `sequence` until segments hold everything below `next`.
struct HeldWrite {
  std::uint64_t sequence = 0;
  Offset next;
};

}  // namespace tidelog::log
