#include "log/entry_replay.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "log/batch_walk.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

constexpr Offset kNoLimit(std::numeric_limits<std::int64_t>::max());

wire::BatchView parse(std::span<const std::byte> bytes) {
  const auto batch = wire::BatchView::parse(bytes, kStoredBatchBytesMax);
  TIDELOG_CHECK(batch.has_value(), "a sound entry holds whole batches");
  return *batch;
}

}  // namespace

EntryReplay::EntryReplay(const LogEvidence& evidence, Offset end, LeaderEpoch epoch)
    : evidence_(evidence), first_epoch_(epoch), end_(end), epoch_(epoch) {
  // A later truncation makes everything behind it void.
  limits_.assign(evidence.entries.size() + 1, kNoLimit);
  for (std::size_t i = evidence.entries.size(); i > 0; --i) {
    const LogEvidence::Entry& at = evidence.entries[i - 1];
    limits_[i - 1] = limits_[i];
    if (truncates(evidence, at) && !broken(Rule::kNothingAboveACut)) {
      limits_[i - 1] = std::min(limits_[i], at.entry->entry.next);
    }
  }
}

void EntryReplay::run(bool over_gaps) {
  for (std::size_t i = 0; i < evidence_.entries.size(); ++i) {
    const LogEvidence::Entry& at = evidence_.entries[i];
    if (!at.entry->sound || at.batches.empty()) continue;
    // A truncation's own head ends at its limit; older entries are cut by it.
    const Offset limit = limits_[i];
    const Offset base = at.entry->entry.base;
    const bool complete = at.sequence <= evidence_.journal_durable;
    if (base > end_ && (!over_gaps || !complete) && !broken(Rule::kNoGaps)) continue;
    end_ = std::max(end_, base);
    if (take(at, limit)) held_.push_back({at.sequence, end_});
  }
}

bool EntryReplay::take(const LogEvidence::Entry& at, Offset limit) {
  bool any = false;
  for (auto rest = at.batches; !rest.empty();) {
    const wire::BatchView batch = parse(rest);
    rest = rest.subspan(batch.size());
    if (batch.next_offset() > limit) continue;
    drop_contradicted(batch);
    if (batch.base_offset() != end_ || batch.leader_epoch() < epoch_) continue;
    batches_.push_back(batch.bytes());
    end_ = batch.next_offset();
    epoch_ = batch.leader_epoch();
    any = true;
  }
  return any;
}

void EntryReplay::drop_contradicted(const wire::BatchView& newer) {
  const auto next_of = [](std::span<const std::byte> batch) { return parse(batch).next_offset(); };
  const auto older = std::ranges::upper_bound(batches_, newer.base_offset(), {}, next_of);
  if (older == batches_.end() || parse(*older).base_offset() > newer.base_offset() ||
      std::ranges::equal(*older, newer.bytes())) {
    return;
  }
  contradicts_ = true;
  end_ = parse(*older).base_offset();
  epoch_ = older == batches_.begin() ? first_epoch_ : parse(*(older - 1)).leader_epoch();
  batches_.erase(older, batches_.end());
}

}  // namespace tidelog::log
