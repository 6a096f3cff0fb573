#include "log/producer_state.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <ranges>
#include <utility>

#include "base/check.h"

namespace tidelog::log {
namespace {

constexpr std::uint32_t kSequenceMask = 0x7fffffff;

// From `from` on to `to`, modulo 2^31.
std::int32_t distance(std::int32_t from, std::int32_t to) {
  return static_cast<std::int32_t>(
      (static_cast<std::uint32_t>(to) - static_cast<std::uint32_t>(from)) & kSequenceMask);
}

std::int32_t advance(std::int32_t sequence, std::int32_t count) {
  return static_cast<std::int32_t>(
      (static_cast<std::uint32_t>(sequence) + static_cast<std::uint32_t>(count)) & kSequenceMask);
}

std::unexpected<Error> refuse(ErrorCode code, const wire::BatchView& batch,
                              const std::string& why) {
  return fail(code, fmt::format("producer {} epoch {} sequence {}: {}", batch.producer_id().value(),
                                batch.producer_epoch(), batch.base_sequence(), why));
}

}  // namespace

std::int32_t ProducerEntry::next_sequence() const {
  return advance(ranges.back().sequence, ranges.back().count);
}

std::size_t ProducerLimits::ranges_allowed(std::size_t producers) const {
  return std::clamp(ranges_shared / producers, std::min(ranges_least, ranges_max), ranges_max);
}

ProducerTable::ProducerTable(const ProducerTable& other)
    : limits_(other.limits_), entries_(other.entries_) {
  by_id_.reserve(entries_.size());
  for (auto at = entries_.begin(); at != entries_.end(); ++at) by_id_.emplace(at->id, at);
}

ProducerTable& ProducerTable::operator=(const ProducerTable& other) {
  if (this != &other) *this = ProducerTable(other);
  return *this;
}

Result<std::optional<ProducerTable::Original>> ProducerTable::check(
    const wire::BatchView& batch) const {
  const std::int32_t sequence = batch.base_sequence();
  const std::int32_t count = batch.record_count();
  const auto found = by_id_.find(batch.producer_id());
  if (found == by_id_.end()) {
    if (sequence == 0) return std::nullopt;
    return refuse(ErrorCode::kUnknownProducer, batch, "nothing of this producer is remembered");
  }
  const ProducerEntry& entry = *found->second;
  if (batch.producer_epoch() < entry.epoch) {
    return refuse(ErrorCode::kFencedProducer, batch,
                  fmt::format("epoch {} has begun", entry.epoch));
  }
  if (batch.producer_epoch() > entry.epoch) {
    if (sequence == 0) return std::nullopt;
    return refuse(ErrorCode::kOutOfOrderSequence, batch, "a new epoch begins with sequence 0");
  }
  const std::int32_t next = entry.next_sequence();
  if (sequence == next) return std::nullopt;
  const std::int32_t back = distance(sequence, next);
  if (back < count || back > kRangeRecordsMax) {
    return refuse(ErrorCode::kOutOfOrderSequence, batch, fmt::format("sequence {} is due", next));
  }
  for (const ProducerRange& range : std::views::reverse(entry.ranges)) {
    const std::int32_t within = distance(range.sequence, sequence);
    if (within >= range.count) continue;
    if (within + count > range.count) break;
    const Offset base = range.base + within;
    return Original{base, base + count, range.log_append_time};
  }
  const ProducerRange& oldest = entry.ranges.front();
  if (back > distance(oldest.sequence, next)) return Original{Offset(-1), oldest.base, true};
  return refuse(ErrorCode::kOutOfOrderSequence, batch,
                "these sequences are in the log, but not as one batch");
}

void ProducerTable::extend(ProducerEntry& entry, const wire::BatchView& batch) const {
  const std::int32_t count = batch.record_count();
  const bool log_append_time = (batch.attributes() & wire::kAttributeLogAppendTime) != 0;
  if (!entry.ranges.empty()) {
    ProducerRange& last = entry.ranges.back();
    if (entry.next_sequence() == batch.base_sequence() &&
        last.base + last.count == batch.base_offset() && last.log_append_time == log_append_time) {
      const std::int32_t over = std::max(0, last.count - (kRangeRecordsMax - count));
      last.base += over;
      last.sequence = advance(last.sequence, over);
      last.count = static_cast<std::uint32_t>(last.count + count - over);
      return;
    }
  }
  const std::size_t kept = limits_.ranges_allowed(entries_.size()) - 1;
  if (entry.ranges.size() > kept) {
    const std::size_t over = entry.ranges.size() - kept;
    entry.ranges.erase(entry.ranges.begin(),
                       entry.ranges.begin() + static_cast<std::ptrdiff_t>(over));
    if (over > 1) entry.ranges.shrink_to_fit();
  }
  entry.ranges.push_back({batch.base_offset(), batch.base_sequence(),
                          static_cast<std::uint32_t>(count), log_append_time});
}

void ProducerTable::apply(const wire::BatchView& batch) {
  const std::int64_t now_us = batch.append_time_us();
  // A batch may say any time.
  constexpr std::int64_t kEver = std::numeric_limits<std::int64_t>::min();
  const std::int64_t oldest_us =
      std::max(now_us, kEver + limits_.forget_after_us) - limits_.forget_after_us;
  while (!entries_.empty() && entries_.front().last_append_us < oldest_us) {
    forget_first();
  }
  const ProducerId id = batch.producer_id();
  if (id.value() < 0) return;
  const auto [at, is_new] = by_id_.try_emplace(id, entries_.end());
  if (is_new) {
    at->second = entries_.insert(entries_.end(), ProducerEntry{.id = id, .ranges = {}});
    at->second->epoch = batch.producer_epoch();
  }
  ProducerEntry& entry = *at->second;
  if (batch.producer_epoch() < entry.epoch) return;  // no leader appends this
  if (batch.producer_epoch() > entry.epoch) entry.ranges.clear();
  entry.epoch = batch.producer_epoch();
  entry.last_append_us = now_us;
  extend(entry, batch);
  entries_.splice(entries_.end(), entries_, at->second);
  if (entries_.size() > limits_.producers_max) forget_first();
}

bool ProducerTable::restore(ProducerEntry entry) {
  TIDELOG_CHECK(!entry.ranges.empty(), "a producer that is remembered has records");
  const auto [at, is_new] = by_id_.try_emplace(entry.id, entries_.end());
  if (is_new) at->second = entries_.insert(entries_.end(), std::move(entry));
  return is_new;
}

void ProducerTable::forget_first() {
  by_id_.erase(entries_.front().id);
  entries_.pop_front();
}

}  // namespace tidelog::log
