#include "wire/batch_builder.h"

#include <gtest/gtest.h>

#include <string>

#include "wire/compression.h"
#include "wire/limits.h"

namespace tidelog::wire {
namespace {

constexpr std::uint64_t kSeed = 77;

class BatchBuilderTest : public testing::TestWithParam<Codec> {
 protected:
  BufferPool pool_{1 << 20};
};

TEST_P(BatchBuilderTest, GivesBackEveryRecordAndFieldOfABatch) {
  BatchBuilder builder;
  const std::string value(1000, 'v');
  for (int i = 0; i < 100; ++i) {
    RecordView record{.key = "key", .value = value};
    if (i % 3 == 0) record.key.reset();
    if (i % 7 == 0) record.value.reset();
    if (i % 5 == 0) record.headers = {{"name", "text"}, {"", std::nullopt}};
    const std::size_t bound = builder.size_with(record);
    builder.add(5000 + (i * 37) % 50, record);
    EXPECT_LE(builder.size(), bound);
  }
  const std::size_t uncompressed = builder.size() - kBatchHeaderBytes;
  const auto batch = builder.finish(GetParam(), kSeed, {ProducerId(9), 2, 300}, pool_);
  ASSERT_TRUE(batch.has_value()) << batch.error().to_string();
  EXPECT_TRUE(builder.empty());

  const auto view = BatchView::parse(batch->bytes(), kBatchBytesMax);
  ASSERT_TRUE(view.has_value()) << view.error().to_string();
  EXPECT_EQ(view->size(), batch->size());
  EXPECT_TRUE(check_produced_batch(*view, kSeed).has_value());
  const BatchHeader header = view->header();
  EXPECT_EQ(header.codec(), GetParam());
  EXPECT_EQ(header.record_count, 100);
  EXPECT_EQ(header.last_offset_delta, 99);
  EXPECT_EQ(header.base_timestamp_ms, 5000);
  EXPECT_EQ(header.max_timestamp_ms, 5049);
  EXPECT_EQ(header.producer_id, ProducerId(9));
  EXPECT_EQ(header.producer_epoch, 2);
  EXPECT_EQ(header.base_sequence, 300);
  EXPECT_EQ(header.uncompressed_bytes, uncompressed);

  std::vector<std::byte> records;
  ASSERT_TRUE(decompress(header.codec(), view->records(), header.uncompressed_bytes, records));
  RecordReader reader(records, header.record_count, header.last_offset_delta);
  RecordView record;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(reader.has_next());
    const auto read = reader.next(record);
    ASSERT_TRUE(read.has_value()) << read.error().to_string();
    EXPECT_EQ(record.offset_delta, i);
    EXPECT_EQ(header.base_timestamp_ms + record.timestamp_delta_ms, 5000 + (i * 37) % 50);
    EXPECT_EQ(record.key.has_value(), i % 3 != 0);
    EXPECT_EQ(record.value.has_value(), i % 7 != 0);
    if (record.value) EXPECT_EQ(*record.value, value);
    ASSERT_EQ(record.headers.size(), i % 5 == 0 ? 2U : 0U);
    if (i % 5 == 0) EXPECT_FALSE(record.headers[1].value.has_value());
  }
  EXPECT_FALSE(reader.has_next());
}

INSTANTIATE_TEST_SUITE_P(EachCodec, BatchBuilderTest,
                         testing::ValuesIn(supported_codecs().begin(), supported_codecs().end()),
                         [](const auto& info) { return std::string(codec_name(info.param)); });

}  // namespace
}  // namespace tidelog::wire
