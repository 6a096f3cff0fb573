// What an index answers is what a look at every batch would.
#include "log/segment_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "wire/limits.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kInterval = 1000;

std::vector<std::byte> batch_at(std::int64_t offset, std::int64_t timestamp_ms) {
  wire::BatchHeader header;
  header.records_bytes = 8;
  header.record_count = 1;
  header.base_offset = Offset(offset);
  header.base_timestamp_ms = header.max_timestamp_ms = timestamp_ms;
  std::vector<std::byte> bytes(wire::kBatchHeaderBytes + header.records_bytes);
  wire::encode_batch_header(header, 1, bytes.data());
  return bytes;
}

// Batches of 300 bytes each whose timestamps go up and down; as an index is written, and read.
SegmentIndex index_of(const std::vector<std::int64_t>& timestamps) {
  SegmentIndex index;
  for (std::size_t i = 0; i < timestamps.size(); ++i) {
    const auto bytes = batch_at(static_cast<std::int64_t>(i), timestamps[i]);
    index.add(*wire::BatchView::parse(bytes, wire::kBatchBytesMax), 300 * i, kInterval);
  }
  const auto decoded = decode_index(encode_index(SegmentSummary(), index, ProducerTable()));
  EXPECT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->index.entries, index.entries);
  return decoded->index;
}

TEST(SegmentIndexTest, ASearchByTimeBeginsAtTheEntryBeforeTheFirstBatchThatReachesIt) {
  SeededRandom random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::int64_t> timestamps(200);
    for (std::int64_t& at : timestamps) at = static_cast<std::int64_t>(random.below(1000));
    const SegmentIndex index = index_of(timestamps);
    for (std::int64_t asked = -1; asked <= 1001; ++asked) {
      const auto reaches = [asked](std::int64_t timestamp) { return timestamp >= asked; };
      const auto first = std::ranges::find_if(timestamps, reaches);
      const IndexEntry* entry = index.reaching(asked);
      if (first == timestamps.end()) {
        EXPECT_EQ(entry, nullptr);
        continue;
      }
      ASSERT_NE(entry, nullptr);
      EXPECT_EQ(entry, index.floor(Offset(first - timestamps.begin())));
    }
  }
}

TEST(SegmentIndexTest, AnIndexWhoseTimesFallIsUnsound) {
  SegmentIndex index = index_of({10, 20, 30, 40, 50, 60, 70, 80});
  ASSERT_GE(index.entries.size(), 2U);
  std::swap(index.entries[0].max_timestamp_ms, index.entries[1].max_timestamp_ms);
  EXPECT_FALSE(decode_index(encode_index(SegmentSummary(), index, ProducerTable())).has_value());
}

}  // namespace
}  // namespace tidelog::log
