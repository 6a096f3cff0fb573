#include "log/segment_index.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"
#include "log/producer_snapshot.h"

namespace tidelog::log {
namespace {

constexpr std::uint32_t kMagic = 0x49444954;  // "TIDI"
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 96;
constexpr std::size_t kEpochBytes = 16;
constexpr std::size_t kEntryBytes = 24;

}  // namespace

void SegmentIndex::add(const wire::BatchView& batch, std::uint64_t position, std::size_t interval) {
  if (entries.empty() || position - entries.back().position >= interval) {
    entries.push_back(
        {batch.base_offset(), position,
         entries.empty() ? batch.max_timestamp_ms() : entries.back().max_timestamp_ms});
  }
  entries.back().max_timestamp_ms =
      std::max(entries.back().max_timestamp_ms, batch.max_timestamp_ms());
}

const IndexEntry* SegmentIndex::above(Offset offset) const {
  const auto it = std::ranges::upper_bound(entries, offset, {}, &IndexEntry::base);
  return it == entries.end() ? nullptr : &*it;
}

const IndexEntry* SegmentIndex::floor(Offset offset) const {
  const auto it = std::ranges::upper_bound(entries, offset, {}, &IndexEntry::base);
  return it == entries.begin() ? nullptr : &*(it - 1);
}

const IndexEntry* SegmentIndex::reaching(std::int64_t timestamp_ms) const {
  const auto it =
      std::ranges::lower_bound(entries, timestamp_ms, {}, &IndexEntry::max_timestamp_ms);
  return it == entries.end() ? nullptr : &*it;
}

void SegmentIndex::cut(Offset offset) {
  const auto it = std::ranges::lower_bound(entries, offset, {}, &IndexEntry::base);
  entries.erase(it, entries.end());
}

void SegmentSummary::add(const wire::BatchView& batch) {
  TIDELOG_CHECK(batch.base_offset() == end, "a batch continues its segment");
  if (batch.leader_epoch() != last_epoch) {
    last_epoch = batch.leader_epoch();
    epochs.push_back({last_epoch, batch.base_offset()});
  }
  end = batch.next_offset();
  max_timestamp_ms = std::max(max_timestamp_ms, batch.max_timestamp_ms());
  last_append_time_us = std::max(last_append_time_us, batch.append_time_us());
}

std::vector<std::byte> encode_index(const SegmentSummary& summary, const SegmentIndex& index,
                                    const ProducerTable& producers) {
  const std::size_t snapshot_bytes = producer_snapshot_bytes(producers);
  std::vector<std::byte> file(kHeaderBytes + summary.epochs.size() * kEpochBytes +
                              index.entries.size() * kEntryBytes + snapshot_bytes);
  std::byte* to = file.data();
  store_le<std::uint32_t>(to, kMagic);
  store_le<std::uint8_t>(to + 4, kVersion);
  store_le<std::uint64_t>(to + 8, summary.file_id);
  store_le<std::int64_t>(to + 16, summary.base.value());
  store_le<std::int64_t>(to + 24, summary.end.value());
  store_le<std::uint64_t>(to + 32, summary.bytes);
  store_le<std::int64_t>(to + 40, summary.max_timestamp_ms);
  store_le<std::int64_t>(to + 48, summary.last_append_time_us);
  store_le<std::uint64_t>(to + 56, summary.last_sequence);
  store_le<std::uint32_t>(to + 64, static_cast<std::uint32_t>(summary.epochs.size()));
  store_le<std::uint32_t>(to + 68, static_cast<std::uint32_t>(index.entries.size()));
  store_le<std::int32_t>(to + 72, summary.last_epoch.value());
  store_le<std::uint32_t>(to + 76, static_cast<std::uint32_t>(snapshot_bytes));
  std::byte* at = to + kHeaderBytes;
  for (const EpochStart& epoch : summary.epochs) {
    store_le<std::int32_t>(at, epoch.epoch.value());
    store_le<std::int64_t>(at + 8, epoch.start.value());
    at += kEpochBytes;
  }
  for (const IndexEntry& entry : index.entries) {
    store_le<std::int64_t>(at, entry.base.value());
    store_le<std::uint64_t>(at + 8, entry.position);
    store_le<std::int64_t>(at + 16, entry.max_timestamp_ms);
    at += kEntryBytes;
  }
  encode_producers(producers, {at, snapshot_bytes});
  const std::span<const std::byte> bytes(file);
  store_le<std::uint64_t>(to + 80, xxh3_64(bytes.subspan(kHeaderBytes)));
  store_le<std::uint64_t>(to + 88, xxh3_64(bytes.first(88)));
  return file;
}

std::optional<DecodedIndex> decode_index(std::span<const std::byte> file) {
  if (file.size() < kHeaderBytes || load_le<std::uint32_t>(file.data()) != kMagic ||
      load_le<std::uint8_t>(file.data() + 4) != kVersion ||
      load_le<std::uint64_t>(file.data() + 88) != xxh3_64(file.first(88))) {
    return std::nullopt;
  }
  const std::byte* from = file.data();
  const auto epochs = load_le<std::uint32_t>(from + 64);
  const auto entries = load_le<std::uint32_t>(from + 68);
  const auto snapshot_bytes = load_le<std::uint32_t>(from + 76);
  if (file.size() != kHeaderBytes + std::uint64_t{epochs} * kEpochBytes +
                         std::uint64_t{entries} * kEntryBytes + snapshot_bytes ||
      load_le<std::uint64_t>(from + 80) != xxh3_64(file.subspan(kHeaderBytes))) {
    return std::nullopt;
  }
  auto producers = decode_producers(file.last(snapshot_bytes));
  if (!producers) return std::nullopt;
  DecodedIndex decoded;
  decoded.producers = std::move(*producers);
  SegmentSummary& summary = decoded.summary;
  summary.file_id = load_le<std::uint64_t>(from + 8);
  summary.base = Offset(load_le<std::int64_t>(from + 16));
  summary.end = Offset(load_le<std::int64_t>(from + 24));
  summary.bytes = load_le<std::uint64_t>(from + 32);
  summary.max_timestamp_ms = load_le<std::int64_t>(from + 40);
  summary.last_append_time_us = load_le<std::int64_t>(from + 48);
  summary.last_sequence = load_le<std::uint64_t>(from + 56);
  summary.last_epoch = LeaderEpoch(load_le<std::int32_t>(from + 72));
  const std::byte* at = from + kHeaderBytes;
  summary.epochs.reserve(epochs);
  for (std::uint32_t i = 0; i < epochs; ++i, at += kEpochBytes) {
    summary.epochs.push_back(
        {LeaderEpoch(load_le<std::int32_t>(at)), Offset(load_le<std::int64_t>(at + 8))});
  }
  decoded.index.entries.reserve(entries);
  for (std::uint32_t i = 0; i < entries; ++i, at += kEntryBytes) {
    decoded.index.entries.push_back({Offset(load_le<std::int64_t>(at)),
                                     load_le<std::uint64_t>(at + 8),
                                     load_le<std::int64_t>(at + 16)});
  }
  if (!std::ranges::is_sorted(decoded.index.entries, {}, &IndexEntry::max_timestamp_ms)) {
    return std::nullopt;
  }
  return decoded;
}

}  // namespace tidelog::log
