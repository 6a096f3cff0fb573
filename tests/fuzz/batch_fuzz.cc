// A record batch as it comes from a producer, and the same with its header made sound, so that the
// records of each codec are read.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/checksum.h"
#include "wire/compression.h"
#include "wire/limits.h"
#include "wire/record.h"
#include "wire/record_batch.h"

namespace tidelog::wire {
namespace {

constexpr std::uint64_t kSeed = 42;
constexpr std::size_t kRecordsBytesMax = 1 << 20;

bool same(const RecordView& a, const RecordView& b) {
  return a.timestamp_delta_ms == b.timestamp_delta_ms && a.offset_delta == b.offset_delta &&
         a.key == b.key && a.value == b.value &&
         std::ranges::equal(a.headers, b.headers, [](const HeaderView& x, const HeaderView& y) {
           return x.key == y.key && x.value == y.value;
         });
}

// Reads the records; each one read must come out the same once written again.
void read_records(std::span<const std::byte> records, const BatchView& batch) {
  RecordReader reader(records, batch.record_count(), batch.last_offset_delta());
  RecordView record;
  RecordView again;
  std::vector<std::byte> bytes;
  while (reader.has_next() && reader.next(record)) {
    bytes.clear();
    append_record(record, bytes);
    TIDELOG_CHECK(bytes.size() == record_bytes(record), "a record has the size stated");
    RecordReader one(bytes, 1);
    TIDELOG_CHECK(one.next(again) && same(record, again), "a record survives being written");
  }
}

void read_batch(const BatchView& batch) {
  (void)batch.verify(kSeed);
  (void)check_produced_batch(batch, kSeed);
  static std::vector<std::byte> records;
  const auto unpacked = decompress(batch.codec(), batch.records(), kRecordsBytesMax, records);
  TIDELOG_CHECK(records.size() <= kRecordsBytesMax, "decompression keeps to its limit");
  if (unpacked) read_records(records, batch);
}

void fuzz_batch(std::span<const std::byte> input) {
  if (const auto batch = BatchView::parse(input, kBatchBytesMax)) read_batch(*batch);
  if (input.size() <= kBatchHeaderBytes) return;

  std::vector<std::byte> sound(input.begin(), input.end());
  const auto records = std::span(sound).subspan(kBatchHeaderBytes);
  store_le<std::uint32_t>(sound.data(), kBatchMagic);
  store_le<std::uint8_t>(sound.data() + 4, kBatchVersion);
  store_le<std::uint8_t>(sound.data() + 5, kBatchHeaderBytes / 8);
  store_le<std::uint64_t>(sound.data() + 8, xxh3_64(records));
  store_le<std::uint32_t>(sound.data() + 16, static_cast<std::uint32_t>(records.size()));
  store_le<std::uint32_t>(sound.data() + 76, 0);
  store_le<std::uint64_t>(sound.data() + 88, xxh3_64(std::span(sound).first(88), kSeed));
  const auto batch = BatchView::parse(sound, kBatchBytesMax);
  if (!batch) return;
  TIDELOG_CHECK(batch->verify(kSeed).has_value(), "a batch with right checksums verifies");
  std::vector<std::byte> header(kBatchHeaderBytes);
  encode_batch_header(batch->header(), kSeed, header.data());
  TIDELOG_CHECK(std::memcmp(header.data(), sound.data(), kBatchHeaderBytes) == 0,
                "a header survives being written");
  read_batch(*batch);
  stamp_batch(sound, {Offset(1), LeaderEpoch(2), 3, std::nullopt}, kSeed);
  const auto stamped = BatchView::parse(sound, kBatchBytesMax);
  TIDELOG_CHECK(stamped && stamped->verify(kSeed), "a stamped batch verifies");
}

}  // namespace
}  // namespace tidelog::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::wire::fuzz_batch({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
