// What is known of a log beside its segments when it is recovered, and what follows from that
// alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "log/checkpoint.h"
#include "log/journal_reader.h"
#include "log/partition_log.h"

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
    std::uint64_t durable_before = 0;    // journal sequence complete when it was submitted
    std::span<const std::byte> batches;  // of a sound entry that a replay wants; see LogRecoverer
  };
  std::vector<Entry> entries;  // of this log and life, in sequence
  std::uint64_t journal_durable = 0;
  // The newest journal write that was complete and is lost (0: none is); which logs it, and those
  // lost before it, concerned is not known.
  std::uint64_t newest_lost = 0;
  // Losses that a person accepted: the log goes on behind each.
  std::vector<Hole> accepted;
};

// Whether `at` is a truncation that was carried out: its place is sound even where its head is not,
// unless the write may have been torn.
bool truncates(const LogEvidence& evidence, const LogEvidence::Entry& at);

// From where on what segments hold is void: cut, or never promised. Nullopt: nowhere.
std::optional<Offset> void_from(const LogEvidence& evidence);

// B: the largest end that was promised, truncations taken into account in their order.
Offset promised_end(const LogEvidence& evidence);

// Whether something later than each lost journal write names the log's end.
bool confirmed(const LogEvidence& evidence);

}  // namespace tidelog::log
