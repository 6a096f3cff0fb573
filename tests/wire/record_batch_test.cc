#include "wire/record_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/checksum.h"
#include "tests/wire/hex.h"
#include "wire/batch_builder.h"
#include "wire/compression.h"
#include "wire/limits.h"

namespace tidelog::wire {
namespace {

// Partition 7 of topic 000102...0f. Made by a program of its own from the layout in record_batch.h
// and record.h.
constexpr std::string_view kGoldenRecords =
    "18000000026b0a68656c6c6f00"
    "1c00d8040201000402680231026e01"
    "0c000904000100";
constexpr std::string_view kGoldenBatch =
    "54494442010c0000ada82e7f37aacdc5230000000000000000000000000000000000000002000000"
    "0068e5cf8b0100002c69e5cf8b01000005000000000000000b000000030000000300000023000000"
    "00000000000000009e0d005391ec3e27";
// The same header, stamped with offset 4096, epoch 9 and log-append time 1700000000999.
constexpr std::string_view kGoldenStamped =
    "54494442010c0000ada82e7f37aacdc5230000000000000000100000000000000900000002000000"
    "0068e5cf8b010000e76be5cf8b01000005000000000000000b000000030008000300000023000000"
    "d37e2d18240a0600130ce68953c09017";

class RecordBatchTest : public testing::Test {
 protected:
  RecordBatchTest() {
    for (std::uint8_t i = 0; i < 16; ++i) partition_.topic.bytes[i] = i;
    partition_.partition = PartitionIndex(7);
    seed_ = batch_seed(partition_);
    batch_ = bytes_of_hex(std::string(kGoldenBatch) + std::string(kGoldenRecords));
  }

  // Sets a header field and renews the header checksum, so that only the field is wrong.
  template <typename T>
  void set_field(std::size_t at, T value) {
    store_le<T>(batch_.data() + at, value);
    store_le<std::uint64_t>(batch_.data() + 88, xxh3_64(std::span(batch_).first(88), seed_));
  }

  ErrorCode parse_code(std::size_t batch_bytes_max = kBatchBytesMax) const {
    const auto view = BatchView::parse(batch_, batch_bytes_max);
    return view ? ErrorCode::kOk : view.error().code();
  }
  ErrorCode produced_code() const {
    const auto view = BatchView::parse(batch_, kBatchBytesMax);
    if (!view) return view.error().code();
    const auto checked = check_produced_batch(*view, seed_);
    return checked ? ErrorCode::kOk : checked.error().code();
  }

  TopicPartition partition_;
  std::uint64_t seed_ = 0;
  std::vector<std::byte> batch_;
  BufferPool pool_{1 << 20};
};

TEST_F(RecordBatchTest, HasTheGoldenBytes) {
  EXPECT_EQ(seed_, 0xd58865adf2399fb6U);
  BatchBuilder builder;
  builder.add(1700000000000, {.key = "k", .value = "hello"});
  builder.add(1700000000300, {.value = "", .headers = {{"h", "1"}, {"n", std::nullopt}}});
  builder.add(1699999999995, {.key = ""});
  const auto batch = builder.finish(Codec::kNone, seed_, {ProducerId(5), 3, 11}, pool_);
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(hex_of_bytes(batch->bytes().first(96)), kGoldenBatch);
  EXPECT_EQ(hex_of_bytes(batch->bytes().subspan(96)), kGoldenRecords);
}

TEST_F(RecordBatchTest, DecodesTheGoldenBytes) {
  const auto view = BatchView::parse(batch_, kBatchBytesMax);
  ASSERT_TRUE(view.has_value()) << view.error().to_string();
  EXPECT_TRUE(view->verify(seed_).has_value());
  EXPECT_TRUE(check_produced_batch(*view, seed_).has_value());
  const BatchHeader header = view->header();
  EXPECT_EQ(header.records_bytes, 35U);
  EXPECT_EQ(header.last_offset_delta, 2);
  EXPECT_EQ(header.base_timestamp_ms, 1700000000000);
  EXPECT_EQ(header.max_timestamp_ms, 1700000000300);
  EXPECT_EQ(header.producer_id, ProducerId(5));
  EXPECT_EQ(header.base_sequence, 11);
  EXPECT_EQ(header.producer_epoch, 3);
  EXPECT_EQ(header.record_count, 3);
  EXPECT_EQ(header.uncompressed_bytes, 35U);
}

TEST_F(RecordBatchTest, StampsTheLeadersFieldsAndOnlyThose) {
  stamp_batch(batch_, {Offset(4096), LeaderEpoch(9), 1700000000999123, 1700000000999}, seed_);
  EXPECT_EQ(hex_of_bytes(std::span(batch_).first(96)), kGoldenStamped);
  EXPECT_EQ(hex_of_bytes(std::span(batch_).subspan(96)), kGoldenRecords);
  const auto view = BatchView::parse(batch_, kBatchBytesMax);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(view->verify(seed_).has_value());
  EXPECT_EQ(view->base_offset(), Offset(4096));
  EXPECT_EQ(view->next_offset(), Offset(4099));
  EXPECT_EQ(view->leader_epoch(), LeaderEpoch(9));
  EXPECT_EQ(view->append_time_us(), 1700000000999123);
  EXPECT_EQ(view->max_timestamp_ms(), 1700000000999);

  // Without log-append time the producer's timestamps stay.
  batch_ = bytes_of_hex(std::string(kGoldenBatch) + std::string(kGoldenRecords));
  stamp_batch(batch_, {Offset(1), LeaderEpoch(2), 3, std::nullopt}, seed_);
  EXPECT_EQ(BatchView::parse(batch_, kBatchBytesMax)->max_timestamp_ms(), 1700000000300);
  EXPECT_EQ(BatchView::parse(batch_, kBatchBytesMax)->attributes(), 0);
}

TEST_F(RecordBatchTest, EncodesWhatHeaderDecodes) {
  const auto view = BatchView::parse(batch_, kBatchBytesMax);
  std::vector<std::byte> again(kBatchHeaderBytes);
  encode_batch_header(view->header(), seed_, again.data());
  EXPECT_EQ(hex_of_bytes(again), kGoldenBatch);
}

TEST_F(RecordBatchTest, DetectsEveryFlippedBit) {
  for (std::size_t bit = 0; bit < batch_.size() * 8; ++bit) {
    batch_[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const auto view = BatchView::parse(batch_, kBatchBytesMax);
    EXPECT_FALSE(view && view->verify(seed_)) << "bit " << bit;
    batch_[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

TEST_F(RecordBatchTest, RefusesABatchThatIsCutAtAnyByte) {
  for (std::size_t size = 0; size < batch_.size(); ++size) {
    const std::vector<std::byte> cut(batch_.begin(), batch_.begin() + static_cast<long>(size));
    const auto view = BatchView::parse(cut, kBatchBytesMax);
    ASSERT_FALSE(view.has_value()) << size;
    EXPECT_EQ(view.error().code(), ErrorCode::kEndOfFile) << size;
  }
}

TEST_F(RecordBatchTest, LeavesWhatFollowsABatchAlone) {
  const std::size_t size = batch_.size();
  batch_.resize(size + 100, std::byte{0xEE});
  const auto view = BatchView::parse(batch_, kBatchBytesMax);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->size(), size);
}

TEST_F(RecordBatchTest, DoesNotVerifyInAnotherPartitionOrTopic) {
  const auto view = BatchView::parse(batch_, kBatchBytesMax);
  TopicPartition other = partition_;
  other.partition = PartitionIndex(8);
  EXPECT_EQ(view->verify(batch_seed(other)).error().code(), ErrorCode::kChecksumMismatch);
  other = partition_;
  other.topic.bytes[15] ^= 1;
  EXPECT_EQ(view->verify(batch_seed(other)).error().code(), ErrorCode::kChecksumMismatch);
}

TEST_F(RecordBatchTest, ChecksItsSizeBeforeItsBytesAreThere) {
  EXPECT_EQ(parse_code(batch_.size()), ErrorCode::kOk);
  EXPECT_EQ(parse_code(batch_.size() - 1), ErrorCode::kBatchTooLarge);
  set_field<std::uint32_t>(16, 0xFFFFFFFF);
  EXPECT_EQ(parse_code(), ErrorCode::kBatchTooLarge);
}

TEST_F(RecordBatchTest, RefusesFieldsThatMakeNoSense) {
  const std::vector<std::byte> sound = batch_;
  const auto code_with = [&]<typename T>(std::size_t at, T value) {
    batch_ = sound;
    set_field<T>(at, value);
    return parse_code();
  };
  EXPECT_EQ(code_with(0, 0U), ErrorCode::kInvalidBatch) << "magic";
  EXPECT_EQ(code_with(4, std::uint8_t{2}), ErrorCode::kInvalidBatch) << "version";
  EXPECT_EQ(code_with(5, std::uint8_t{13}), ErrorCode::kInvalidBatch) << "header length";
  EXPECT_EQ(code_with(6, std::uint16_t{4}), ErrorCode::kInvalidBatch) << "flags";
  EXPECT_EQ(code_with(70, std::uint16_t{128}), ErrorCode::kInvalidBatch) << "attributes";
  for (const std::uint16_t codec : {5, 6, 7}) {
    EXPECT_EQ(code_with(70, codec), ErrorCode::kUnsupportedCodec) << codec;
  }
  for (const std::int32_t count : {0, -1, 4, 1'000'001, std::numeric_limits<std::int32_t>::max()}) {
    EXPECT_EQ(code_with(72, count), ErrorCode::kInvalidBatch) << count;
  }
  for (const std::int32_t delta : {-1, 0, 1, std::numeric_limits<std::int32_t>::min()}) {
    EXPECT_EQ(code_with(36, delta), ErrorCode::kInvalidBatch) << delta;
  }
  for (const std::int64_t offset : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(code_with(24, offset), ErrorCode::kInvalidBatch) << offset;
  }
  EXPECT_EQ(code_with(76, 36U), ErrorCode::kInvalidBatch) << "uncompressed length";
  EXPECT_EQ(code_with(36, 5), ErrorCode::kOk) << "a compacted batch has gaps";
  EXPECT_EQ(code_with(76, 0U), ErrorCode::kOk) << "an unknown uncompressed length";

  // Compressed: the length it claims to become is bounded, and must hold its records.
  batch_ = sound;
  set_field<std::uint16_t>(70, 4);
  set_field<std::uint32_t>(76, kUncompressedBatchBytesMax);
  EXPECT_EQ(parse_code(), ErrorCode::kOk);
  set_field<std::uint32_t>(76, kUncompressedBatchBytesMax + 1);
  EXPECT_EQ(parse_code(), ErrorCode::kInvalidBatch);
  set_field<std::uint32_t>(76, 20);
  EXPECT_EQ(parse_code(), ErrorCode::kInvalidBatch);
}

TEST_F(RecordBatchTest, RefusesFromAProducerWhatOnlyALeaderMaySet) {
  const std::vector<std::byte> sound = batch_;
  const auto code_with = [&]<typename T>(std::size_t at, T value) {
    batch_ = sound;
    set_field<T>(at, value);
    EXPECT_EQ(parse_code(), ErrorCode::kOk) << at;
    return produced_code();
  };
  EXPECT_EQ(produced_code(), ErrorCode::kOk);
  EXPECT_EQ(code_with(24, std::int64_t{1}), ErrorCode::kInvalidBatch) << "base offset";
  EXPECT_EQ(code_with(32, 1), ErrorCode::kInvalidBatch) << "leader epoch";
  EXPECT_EQ(code_with(80, std::int64_t{1}), ErrorCode::kInvalidBatch) << "append time";
  EXPECT_EQ(code_with(36, 3), ErrorCode::kInvalidBatch) << "last offset delta";
  EXPECT_EQ(code_with(6, std::uint16_t{1}), ErrorCode::kInvalidBatch) << "flags";
  EXPECT_EQ(code_with(20, 1U), ErrorCode::kInvalidBatch) << "CRC32C";
  for (const std::uint16_t attribute : {8, 16, 32, 64}) {
    EXPECT_EQ(code_with(70, attribute), ErrorCode::kInvalidBatch) << attribute;
  }
  EXPECT_EQ(code_with(56, std::int64_t{-1}), ErrorCode::kInvalidBatch) << "producer id";
  EXPECT_EQ(code_with(56, std::int64_t{-2}), ErrorCode::kInvalidBatch) << "producer id";
  EXPECT_EQ(code_with(64, -1), ErrorCode::kInvalidBatch) << "sequence";
  EXPECT_EQ(code_with(68, std::int16_t{-1}), ErrorCode::kInvalidBatch) << "producer epoch";
}

}  // namespace
}  // namespace tidelog::wire
