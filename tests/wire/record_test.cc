#include "wire/record.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/wire/hex.h"
#include "wire/limits.h"

namespace tidelog::wire {
namespace {

class RecordTest : public testing::Test {
 protected:
  // Encodes one record and reads it back into read_.
  void round_trip(const RecordView& record) {
    bytes_.clear();
    append_record(record, bytes_);
    EXPECT_EQ(bytes_.size(), record_bytes(record));
    RecordReader reader(bytes_, 1);
    const auto result = reader.next(read_);
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    EXPECT_FALSE(reader.has_next());
    EXPECT_EQ(read_.timestamp_delta_ms, record.timestamp_delta_ms);
    EXPECT_EQ(read_.offset_delta, record.offset_delta);
    EXPECT_EQ(read_.key, record.key);
    EXPECT_EQ(read_.value, record.value);
    ASSERT_EQ(read_.headers.size(), record.headers.size());
    for (std::size_t i = 0; i < record.headers.size(); ++i) {
      EXPECT_EQ(read_.headers[i].key, record.headers[i].key);
      EXPECT_EQ(read_.headers[i].value, record.headers[i].value);
    }
  }

  static bool reads(std::string_view hex, std::int32_t count = 1) {
    const std::vector<std::byte> bytes = bytes_of_hex(hex);
    RecordReader reader(bytes, count);
    RecordView record;
    while (reader.has_next()) {
      const auto result = reader.next(record);
      if (result) continue;
      EXPECT_EQ(result.error().code(), ErrorCode::kInvalidBatch);
      return false;
    }
    return true;
  }

  std::vector<std::byte> bytes_;
  RecordView read_;
};

TEST_F(RecordTest, TellsNullFromEmpty) {
  round_trip({});
  EXPECT_EQ(hex_of_bytes(bytes_), "0c000000010100");
  round_trip({.key = "", .value = ""});
  EXPECT_EQ(hex_of_bytes(bytes_), "0c000000000000");
  round_trip({.key = "k"});
  round_trip({.value = "v"});
}

TEST_F(RecordTest, CarriesEveryLengthOfNumbers) {
  for (int bits = 0; bits < 64; ++bits) {
    const auto power = static_cast<std::int64_t>(std::uint64_t{1} << bits);
    for (const std::int64_t delta : {power, ~power, static_cast<std::int64_t>(power - 1ULL)}) {
      round_trip({.timestamp_delta_ms = delta, .value = "v"});
    }
  }
  for (int bits = 0; bits < 31; ++bits) round_trip({.offset_delta = 1 << bits, .value = "v"});
  round_trip({.offset_delta = std::numeric_limits<std::int32_t>::max()});
}

TEST_F(RecordTest, CarriesLargeValuesAndManyHeaders) {
  const std::string megabyte(1 << 20, 'm');
  std::vector<HeaderView> headers;
  for (int i = 0; i < 200; ++i) {
    headers.push_back({"header", i % 2 == 0 ? std::optional<std::string_view>("x") : std::nullopt});
  }
  round_trip({.key = megabyte, .value = megabyte, .headers = headers});
  round_trip({.headers = {{"", ""}}});
}

TEST_F(RecordTest, RefusesARecordThatIsCutAtAnyByte) {
  append_record({.timestamp_delta_ms = 300,
                 .key = "key",
                 .value = "value",
                 .headers = {{"a", "b"}, {"c", std::nullopt}}},
                bytes_);
  for (std::size_t size = 0; size < bytes_.size(); ++size) {
    const std::vector<std::byte> cut(bytes_.begin(), bytes_.begin() + static_cast<long>(size));
    RecordReader reader(cut, 1);
    const auto result = reader.next(read_);
    ASSERT_FALSE(result.has_value()) << size;
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidBatch);
  }
}

TEST_F(RecordTest, RefusesLengthsThatPointOutside) {
  EXPECT_TRUE(reads("0c000000010100"));
  EXPECT_FALSE(reads("0e000000010100")) << "record length";
  EXPECT_FALSE(reads("0b000000010100")) << "negative record length";
  EXPECT_FALSE(reads("feffffff0f0000000101")) << "record length of 2 GiB";
  EXPECT_FALSE(reads("0c000000020100")) << "key length";
  EXPECT_FALSE(reads("0c000000030100")) << "key length -2";
  EXPECT_FALSE(reads("0c000000010200")) << "value length";
  EXPECT_FALSE(reads("0c000000010101")) << "header count -1";
  EXPECT_FALSE(reads("0c000000010102")) << "header count";
  EXPECT_FALSE(reads("100000000101020100")) << "null header key";
  EXPECT_FALSE(reads("0c010000010100")) << "attributes";
  EXPECT_FALSE(reads("0e00000001010000")) << "a byte inside behind the last field";
  EXPECT_FALSE(reads("0c00000001010000")) << "a byte behind the last record";
  EXPECT_FALSE(reads("2000ffffffffffffffffff02000101")) << "a number beyond 64 bits";
  EXPECT_FALSE(reads("")) << "nothing at all";
  EXPECT_FALSE(reads("0c000000010100", 2)) << "fewer records than stated";
}

TEST_F(RecordTest, ReservesNothingForAnAbsurdHeaderCount) {
  const std::vector<std::byte> bytes = bytes_of_hex("140000000101feffffff0f");
  RecordReader reader(bytes, 1);
  RecordView record;
  EXPECT_FALSE(reader.next(record).has_value());
  EXPECT_EQ(record.headers.capacity(), 0U);
}

// A compressed batch of some kilobytes can hold millions of empty headers, and each takes twenty
// times its bytes once it is read.
TEST_F(RecordTest, RefusesMoreHeadersThanARecordMayHave) {
  const auto read_record_with = [this](std::size_t headers) {
    bytes_.clear();
    append_record({.headers = std::vector<HeaderView>(headers, {"", ""})}, bytes_);
    RecordReader reader(bytes_, 1);
    return reader.next(read_);
  };
  EXPECT_TRUE(read_record_with(kHeadersPerRecordMax).has_value());
  const auto refused = read_record_with(kHeadersPerRecordMax + 1);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidBatch);
}

TEST_F(RecordTest, RefusesOffsetDeltasThatDoNotRiseOrLeaveTheBatch) {
  const auto read_two = [this](std::int32_t first, std::int32_t second, std::int32_t last) {
    bytes_.clear();
    append_record({.offset_delta = first}, bytes_);
    append_record({.offset_delta = second}, bytes_);
    RecordReader reader(bytes_, 2, last);
    return reader.next(read_).has_value() && reader.next(read_).has_value();
  };
  EXPECT_TRUE(read_two(0, 1, 1));
  EXPECT_TRUE(read_two(3, 9, 9));
  EXPECT_FALSE(read_two(0, 0, 1));
  EXPECT_FALSE(read_two(1, 0, 1));
  EXPECT_FALSE(read_two(0, 2, 1));
  EXPECT_FALSE(read_two(-1, 1, 1));
}

}  // namespace
}  // namespace tidelog::wire
