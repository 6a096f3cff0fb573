// The producers of a log as a damaged or hostile .idx would have them; and the same within an index
// whose checksums were made right. Whatever is taken for sound survives being written, keeps to its
// limits, and still answers duplicates as duplicates.
#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"
#include "log/producer_snapshot.h"
#include "log/segment_index.h"
#include "wire/record_batch.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kSeed = 42;
constexpr std::size_t kIndexHeaderBytes = 96;
constexpr std::int64_t kOffsetMax = std::int64_t{1} << 62;  // batches behind it are refused soon

// One record of the producer, behind all that the table knows.
std::vector<std::byte> next_batch(const ProducerEntry& producer, Offset base) {
  std::vector<std::byte> batch(wire::kBatchHeaderBytes + 8);
  wire::BatchHeader header;
  header.base_offset = base;
  header.producer_id = producer.id;
  header.producer_epoch = producer.epoch;
  header.base_sequence = producer.next_sequence();
  header.append_time_us = producer.last_append_us;
  header.record_count = 1;
  header.records_bytes = 8;
  header.records_checksum = xxh3_64(std::span(batch).subspan(wire::kBatchHeaderBytes));
  wire::encode_batch_header(header, kSeed, batch.data());
  return batch;
}

void use(ProducerTable table) {
  Offset end(0);
  for (const ProducerEntry& producer : table.entries()) {
    end = std::max(end, producer.ranges.back().base + producer.ranges.back().count);
  }
  if (end.value() > kOffsetMax) return;
  const std::vector<ProducerEntry> producers(table.entries().begin(), table.entries().end());
  for (const ProducerEntry& producer : producers) {
    const auto bytes = next_batch(producer, end);
    const auto batch = wire::BatchView::parse(bytes, bytes.size());
    TIDELOG_CHECK(batch.has_value(), "the batch is sound");
    const auto fits = table.check(*batch);
    // Another one's append may have made the table forget this one.
    if (!fits || fits->has_value()) continue;
    table.apply(*batch);
    const auto again = table.check(*batch);
    TIDELOG_CHECK(again && again->has_value() && (*again)->base == end, "it is known again");
    end = end + 1;
  }
  const ProducerLimits limits;
  TIDELOG_CHECK(table.size() <= limits.producers_max, "the number of producers is bounded");
  for (const ProducerEntry& producer : table.entries()) {
    TIDELOG_CHECK(producer.ranges.size() <= limits.ranges_max, "the number of ranges is bounded");
  }
}

void fuzz_snapshot(std::span<const std::byte> input) {
  const auto table = decode_producers(input);
  if (!table) return;
  std::vector<std::byte> written(producer_snapshot_bytes(*table));
  encode_producers(*table, written);
  TIDELOG_CHECK(std::ranges::equal(written, input), "a snapshot survives being written");
  use(*table);
}

void fuzz_index(std::span<const std::byte> input) {
  if (const auto index = decode_index(input)) use(index->producers);
  if (input.size() < kIndexHeaderBytes) return;
  std::vector<std::byte> sound(input.begin(), input.end());
  store_le<std::uint32_t>(sound.data(), 0x49444954);
  store_le<std::uint8_t>(sound.data() + 4, 1);
  store_le<std::uint64_t>(sound.data() + 80,
                          xxh3_64(std::span<const std::byte>(sound).subspan(kIndexHeaderBytes)));
  store_le<std::uint64_t>(sound.data() + 88, xxh3_64(std::span<const std::byte>(sound).first(88)));
  if (const auto index = decode_index(sound)) use(index->producers);
}

}  // namespace
}  // namespace tidelog::log

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  tidelog::log::fuzz_snapshot(input);
  tidelog::log::fuzz_index(input);
  return 0;
}
