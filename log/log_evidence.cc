#include "log/log_evidence.h"

#include <algorithm>
#include <limits>

#include "log/rules.h"

namespace tidelog::log {
namespace {
constexpr Offset kNoLimit(std::numeric_limits<std::int64_t>::max());
}

bool truncates(const LogEvidence& evidence, const LogEvidence::Entry& at) {
  return at.entry->entry.kind == EntryKind::kTruncate &&
         (at.entry->sound || at.sequence <= evidence.journal_durable);
}

// A truncation in the journal
// without a later append may not have reached the files: it is done again, from the head that the
// journal kept; with that head damaged, the write that the cut falls into may still have it. A log
// that is LOSSY takes no appends and no cuts, so it ends where it was found to end.
std::optional<Offset> void_from(const LogEvidence& evidence) {
  std::optional<Offset> limit;
  for (const LogEvidence::Entry& at : evidence.entries) {
    if (evidence.clean) break;  // a clean stop waits for each
    const JournalEntry& entry = at.entry->entry;
    if (entry.kind == EntryKind::kAppend) limit.reset();
    if (truncates(evidence, at) && !broken(Rule::kCutIsDoneAgain))
      limit = at.entry->sound ? entry.base : entry.next;
  }
  if (evidence.checkpoint && evidence.checkpoint->lossy) {
    limit = std::min(limit.value_or(kNoLimit), evidence.checkpoint->durable_end);
  }
  return limit;
}

Offset promised_end(const LogEvidence& evidence) {
  Offset end(0);
  bool checkpoint_counted = !evidence.checkpoint;
  const auto count_checkpoint = [&] {
    if (!checkpoint_counted) end = std::max(end, evidence.checkpoint->durable_end);
    checkpoint_counted = true;
  };
  for (const LogEvidence::Entry& at : evidence.entries) {
    if (at.sequence > evidence.checkpoint_sequence) count_checkpoint();
    const JournalEntry& entry = at.entry->entry;
    if (entry.kind == EntryKind::kTruncate) {
      if (truncates(evidence, at)) end = entry.next;
      continue;
    }
    if (broken(Rule::kEntriesPromise)) continue;
    end = std::max(end, entry.durable_end);
    if (at.sequence <= evidence.journal_durable) end = std::max(end, entry.next);
  }
  count_checkpoint();
  return end;
}

bool confirmed(const LogEvidence& evidence) {
  if (broken(Rule::kLostWritesCount)) return true;
  if (evidence.checkpoint && evidence.checkpoint_sequence >= evidence.newest_lost) return true;
  return evidence.newest_lost == 0 ||
         std::ranges::any_of(evidence.entries, [&](const LogEvidence::Entry& entry) {
           return entry.durable_before >= evidence.newest_lost;
         });
}

}  // namespace tidelog::log
