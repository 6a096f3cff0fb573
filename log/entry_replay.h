// Which batches of a journal's entries continue a log that ends where its segments do.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "log/log_evidence.h"
#include "log/stored_journal.h"
#include "wire/record_batch.h"

namespace tidelog::log {

class EntryReplay {
 public:
  // Of `evidence`, which outlives it, for a log whose segments end at `end` with `epoch`.
  EntryReplay(const LogEvidence& evidence, Offset end, LeaderEpoch epoch);

  // Takes every batch that continues the log; with `over_gaps` also what lies behind a gap.
  // REQUIRES: the batches of sound entries that reach above the end are there.
  void run(bool over_gaps);

  Offset end() const { return end_; }
  // Entries contradict each other: the journal write with the truncation between them is lost.
  bool contradicts() const { return contradicts_; }
  std::uint64_t entries() const { return held_.size(); }
  // The journal writes that the batches come from, and how far each reaches; rising.
  const std::vector<HeldWrite>& held() const { return held_; }
  const std::vector<std::span<const std::byte>>& batches() const { return batches_; }

 private:
  bool take(const LogEvidence::Entry& at, Offset limit);
  // A newer batch in the place of a replayed one that is not the same voids that one and all behind
  // it.
  void drop_contradicted(const wire::BatchView& newer);

  const LogEvidence& evidence_;
  const LeaderEpoch first_epoch_;
  Offset end_;
  LeaderEpoch epoch_;
  std::vector<Offset> limits_;
  std::vector<std::span<const std::byte>> batches_;
  std::vector<HeldWrite> held_;
  bool contradicts_ = false;
};

}  // namespace tidelog::log
