#include "log/producer_snapshot.h"

#include <limits>
#include <utility>

#include "base/bytes.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kHeadBytes = 8;
constexpr std::size_t kProducerBytes = 24;
constexpr std::size_t kRangeBytes = 16;
// In the number of a range's records.
constexpr std::uint32_t kLogAppendTime = std::uint32_t{1} << 31;

// No log holds an offset so high that a range behind it would not fit.
constexpr std::int64_t kOffsetMax = std::numeric_limits<std::int64_t>::max() - kRangeRecordsMax;

// Nullopt unless it lies behind `end`, where the range before ended.
std::optional<ProducerRange> decode_range(const std::byte* from, Offset end) {
  const auto count = load_le<std::uint32_t>(from + 12);
  const ProducerRange range{Offset(load_le<std::int64_t>(from)), load_le<std::int32_t>(from + 8),
                            count & ~kLogAppendTime, (count & kLogAppendTime) != 0};
  if (range.base < end || range.base.value() > kOffsetMax || range.sequence < 0 ||
      range.count < 1 || range.count > kRangeRecordsMax) {
    return std::nullopt;
  }
  return range;
}

// Takes one producer from the front of `from`; nullopt when anything is wrong with it.
std::optional<ProducerEntry> decode_producer(std::span<const std::byte>& from,
                                             const ProducerLimits& limits) {
  if (from.size() < kProducerBytes) return std::nullopt;
  ProducerEntry entry{.id = ProducerId(load_le<std::int64_t>(from.data())),
                      .epoch = load_le<std::int16_t>(from.data() + 16),
                      .last_append_us = load_le<std::int64_t>(from.data() + 8),
                      .ranges = {}};
  const std::size_t ranges = load_le<std::uint16_t>(from.data() + 18);
  const bool zero = load_le<std::uint32_t>(from.data() + 20) == 0;
  from = from.subspan(kProducerBytes);
  if (!zero || entry.id.value() < 0 || entry.epoch < 0 || ranges == 0 ||
      ranges > limits.ranges_max || ranges > from.size() / kRangeBytes) {
    return std::nullopt;
  }
  entry.ranges.reserve(ranges);
  Offset end(0);
  for (std::size_t r = 0; r < ranges; ++r, from = from.subspan(kRangeBytes)) {
    const auto range = decode_range(from.data(), end);
    if (!range) return std::nullopt;
    entry.ranges.push_back(*range);
    end = range->base + range->count;
  }
  return entry;
}

}  // namespace

std::size_t producer_snapshot_bytes(const ProducerTable& table) {
  std::size_t bytes = kHeadBytes;
  for (const ProducerEntry& entry : table.entries()) {
    bytes += kProducerBytes + entry.ranges.size() * kRangeBytes;
  }
  return bytes;
}

void encode_producers(const ProducerTable& table, std::span<std::byte> to) {
  std::byte* at = to.data();
  store_le<std::uint32_t>(at, static_cast<std::uint32_t>(table.size()));
  store_le<std::uint32_t>(at + 4, 0);
  at += kHeadBytes;
  for (const ProducerEntry& entry : table.entries()) {
    store_le<std::int64_t>(at, entry.id.value());
    store_le<std::int64_t>(at + 8, entry.last_append_us);
    store_le<std::int16_t>(at + 16, entry.epoch);
    store_le<std::uint16_t>(at + 18, static_cast<std::uint16_t>(entry.ranges.size()));
    store_le<std::uint32_t>(at + 20, 0);
    at += kProducerBytes;
    for (const ProducerRange& range : entry.ranges) {
      store_le<std::int64_t>(at, range.base.value());
      store_le<std::int32_t>(at + 8, range.sequence);
      store_le<std::uint32_t>(at + 12, range.count | (range.log_append_time ? kLogAppendTime : 0U));
      at += kRangeBytes;
    }
  }
}

std::optional<ProducerTable> decode_producers(std::span<const std::byte> from) {
  const ProducerLimits limits;
  if (from.size() < kHeadBytes) return std::nullopt;
  const auto producers = load_le<std::uint32_t>(from.data());
  if (producers > limits.producers_max || load_le<std::uint32_t>(from.data() + 4) != 0) {
    return std::nullopt;
  }
  from = from.subspan(kHeadBytes);
  ProducerTable table(limits);
  for (std::uint32_t i = 0; i < producers; ++i) {
    auto entry = decode_producer(from, limits);
    if (!entry || !table.restore(std::move(*entry))) return std::nullopt;
  }
  if (!from.empty()) return std::nullopt;
  return table;
}

}  // namespace tidelog::log
