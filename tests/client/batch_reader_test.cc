#include "client/consumer/batch_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "wire/batch_builder.h"
#include "wire/compression.h"

namespace tidelog::client_core {
namespace {

using testing::HasSubstr;

// A batch whose header says what it says, of records with these offset deltas.
SharedBytes batch_of(wire::BatchHeader header, const std::vector<std::int32_t>& deltas) {
  std::vector<std::byte> records;
  for (const std::int32_t delta : deltas) {
    wire::RecordView record;
    record.offset_delta = delta;
    wire::append_record(record, records);
  }
  if (header.codec() != wire::Codec::kNone) {
    const std::vector<std::byte> plain = std::exchange(records, {});
    EXPECT_TRUE(wire::compress(header.codec(), plain, records).has_value());
  }
  header.records_bytes = static_cast<std::uint32_t>(records.size());
  std::vector<std::byte> bytes(wire::kBatchHeaderBytes);
  wire::encode_batch_header(header, 1, bytes.data());
  bytes.insert(bytes.end(), records.begin(), records.end());
  return SharedBytes::copy_of(bytes);
}

TEST(BatchReaderTest, RefusesARecordWhoseOffsetIsBeyondItsBatch) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchHeader header;
  header.record_count = 2;
  header.last_offset_delta = 1;
  auto sound = BatchReader::open(batch_of(header, {0, 1}), pool, 1024);
  ASSERT_TRUE(sound.has_value());
  EXPECT_TRUE(sound->next().has_value());
  EXPECT_TRUE(sound->next().has_value());
  auto wrong = BatchReader::open(batch_of(header, {0, 2}), pool, 1024);
  ASSERT_TRUE(wrong.has_value());
  EXPECT_TRUE(wrong->next().has_value());
  const auto second = wrong->next();
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), ErrorCode::kInvalidBatch);
}

TEST(BatchReaderTest, RefusesMoreRecordsThanItsDecompressedBytesCanHold) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchHeader header;  // says nothing of the uncompressed length
  header.attributes = static_cast<std::uint16_t>(wire::Codec::kZstd);
  header.record_count = 1'000'000;
  header.last_offset_delta = 999'999;
  const auto reader = BatchReader::open(batch_of(header, {0, 1}), pool, 1024);
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().code(), ErrorCode::kInvalidBatch);
  EXPECT_THAT(reader.error().message(), HasSubstr("1000000 records"));
}

TEST(BatchReaderTest, DecompressesNoMoreThanTheHeaderSays) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchHeader header;
  header.attributes = static_cast<std::uint16_t>(wire::Codec::kZstd);
  header.record_count = 2;
  header.last_offset_delta = 1000;
  const auto open_saying = [&](std::uint32_t bytes) {
    header.uncompressed_bytes = bytes;
    return BatchReader::open(batch_of(header, {0, 1000}), pool, 1024);
  };
  const auto unsaid = open_saying(0);
  ASSERT_TRUE(unsaid.has_value());
  const auto exact = static_cast<std::uint32_t>(unsaid->bytes());
  ASSERT_TRUE(open_saying(exact).has_value());
  const auto less = open_saying(exact - 1);
  ASSERT_FALSE(less.has_value());
  EXPECT_EQ(less.error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE(open_saying(2048).has_value());  // more than may be taken, but it does not come
}

TEST(BatchReaderTest, StopsADecompressionBombAtItsBound) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchBuilder builder;
  const std::string zeros(3 * 1024 * 1024, '\0');
  wire::RecordView record;
  record.value = zeros;
  builder.add(0, record);
  const auto batch = builder.finish(wire::Codec::kZstd, 1, {}, *pool);
  ASSERT_TRUE(batch.has_value());
  ASSERT_LT(batch->size(), 10'000U);
  const auto reader = BatchReader::open(*batch, pool, 1024 * 1024);
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE(BatchReader::open(*batch, pool, 4 * 1024 * 1024).has_value());
}

}  // namespace
}  // namespace tidelog::client_core
