#include "wire/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/bytes.h"
#include "tests/wire/hex.h"
#include "wire/limits.h"
#include "wire/protocol_generated.h"
#include "wire/table_access.h"

namespace tidelog::wire {
namespace {

using testing::HasSubstr;

// API 20, version 1, correlation 0x1122334455667788, both flags, a table of five bytes, 16 raw
// bytes; made by a program of its own from the layout in frame.h and libxxhash.
constexpr std::string_view kGoldenFrame =
    "5449444538000000887766554433221114000100030000000500000"
    "0cabca337"
    "0102030405000000";

std::span<const std::byte, kFramePrefixBytes> prefix_of(std::span<const std::byte> bytes) {
  return bytes.first<kFramePrefixBytes>();
}

class FrameTest : public testing::Test {
 protected:
  // A frame with this table, checked as a receiver does.
  static bool accepted(std::span<const std::byte> frame) {
    const auto prefix = decode_frame_prefix(prefix_of(frame), kFrameBytesMax);
    if (!prefix || prefix->raw_position() > frame.size()) return false;
    return check_frame(prefix_of(frame),
                       frame.subspan(kFramePrefixBytes, prefix->raw_position() - kFramePrefixBytes))
        .has_value();
  }

  static std::vector<std::byte> prefix_with(std::size_t at, std::uint32_t value) {
    std::vector<std::byte> bytes = bytes_of_hex(kGoldenFrame);
    store_le<std::uint32_t>(bytes.data() + at, value);
    return bytes;
  }

  static Error decode_error(std::span<const std::byte> bytes, std::size_t frame_bytes_max) {
    const auto prefix = decode_frame_prefix(prefix_of(bytes), frame_bytes_max);
    return prefix ? Error(ErrorCode::kInternal, "it was accepted") : prefix.error();
  }

  BufferPool pool_{1 << 20};
};

TEST_F(FrameTest, HasTheGoldenBytes) {
  const std::vector<std::byte> table = bytes_of_hex("0102030405");
  const SharedBytes frame = encode_frame(
      {ApiKey::kProduce, 1, 0x1122334455667788, kFrameAnswer | kFrameMoreParts}, table, 16, pool_);
  EXPECT_EQ(hex_of_bytes(frame.bytes()), kGoldenFrame);
}

TEST_F(FrameTest, SmallFramesShareTheirMemoryAndLargeOnesHaveTheirOwn) {
  FrameEncoder encoder(pool_);
  std::vector<SharedBytes> frames;
  for (const std::size_t bytes : {10U, 100U, 500U, 20U, 30U, 900U, 900U, 900U, 900U, 5000U}) {
    flatbuffers::FlatBufferBuilder table;
    table.Finish(fb::CreateDeleteTopicRequest(table, table.CreateString(std::string(bytes, 'x'))));
    const FrameHead head{.api = ApiKey::kDeleteTopic, .correlation = bytes};
    frames.push_back(encoder.encode(head, table, 0));
    const SharedBytes alone = encode_frame(head, table, 0, pool_);
    EXPECT_TRUE(std::ranges::equal(frames.back().bytes(), alone.bytes()));
  }
  // Two blocks for all that are small, two pages for the large one.
  EXPECT_EQ(pool_.outstanding_bytes(), 4 * kBufferAlignment);
}

TEST_F(FrameTest, KnowsAStrangerByItsFirstBytes) {
  const auto seen = [](std::string_view text) {
    const auto checked = check_frame_begin(as_bytes(text));
    return checked ? std::string() : checked.error().message();
  };
  for (const std::string_view begin : {"", "T", "TI", "TID", "TIDE", "TIDE and more"}) {
    EXPECT_EQ(seen(begin), "") << begin;
  }
  EXPECT_NE(seen("GET / HTTP/1.0\r\n\r\n").find("HTTP"), std::string::npos);
  EXPECT_NE(seen("G").find("47"), std::string::npos);
  EXPECT_NE(seen(std::string_view("\x16\x03\x01\x00\x05\x01", 6)).find("TLS"), std::string::npos);
  EXPECT_NE(seen(std::string_view("\0\0\0\x0b\0\x12\0\0\0\0\0\x01\0\x01x", 15)).find("Kafka"),
            std::string::npos);
  EXPECT_NE(seen("TIDX").find("54 49 44 58"), std::string::npos);
}

TEST_F(FrameTest, DecodesTheGoldenBytes) {
  const std::vector<std::byte> bytes = bytes_of_hex(kGoldenFrame);
  const auto prefix = decode_frame_prefix(prefix_of(bytes), 56);
  ASSERT_TRUE(prefix.has_value()) << prefix.error().to_string();
  EXPECT_EQ(prefix->frame_bytes, 56U);
  EXPECT_EQ(prefix->correlation, 0x1122334455667788U);
  EXPECT_EQ(prefix->api_key, 20);
  EXPECT_EQ(prefix->api_version, 1);
  EXPECT_TRUE(prefix->is_answer());
  EXPECT_EQ(prefix->flags, 3);
  EXPECT_EQ(prefix->table_bytes, 5U);
  EXPECT_EQ(prefix->raw_position(), 40U);
  EXPECT_EQ(prefix->raw_bytes(), 16U);
  EXPECT_TRUE(check_frame(prefix_of(bytes), std::span(bytes).subspan(32, 5)).has_value());
  EXPECT_TRUE(accepted(bytes));
}

TEST_F(FrameTest, CarriesEveryTableSizeOnAMultipleOfEight) {
  std::vector<std::byte> table(64);
  std::iota(reinterpret_cast<unsigned char*>(table.data()),
            reinterpret_cast<unsigned char*>(table.data()) + table.size(), std::uint8_t{1});
  for (std::size_t size = 0; size <= table.size(); ++size) {
    const SharedBytes frame =
        encode_frame({ApiKey::kPing, 1, 1, 0}, std::span(table).first(size), 0, pool_);
    EXPECT_EQ(frame.size(), align_up(32 + size, 8));
    EXPECT_TRUE(accepted(frame.bytes())) << size;
  }
}

TEST_F(FrameTest, DetectsEveryFlippedBit) {
  std::vector<std::byte> bytes = bytes_of_hex(kGoldenFrame);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(accepted(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  EXPECT_TRUE(accepted(bytes));
}

TEST_F(FrameTest, RefusesLengthsAboveTheLimitBeforeAnythingElse) {
  EXPECT_EQ(decode_error(bytes_of_hex(kGoldenFrame), 55).code(), ErrorCode::kTooLarge);
  for (const std::uint32_t length : {0x80000000U, 0xFFFFFFFFU, 8U * 1024 * 1024 + 1}) {
    EXPECT_EQ(decode_error(prefix_with(4, length), kFrameBytesMax).code(), ErrorCode::kTooLarge);
  }
}

TEST_F(FrameTest, RefusesLengthsThatContradictEachOther) {
  for (const std::uint32_t length : {0U, 4U, 31U, 32U, 39U}) {
    EXPECT_EQ(decode_error(prefix_with(4, length), kFrameBytesMax).code(),
              ErrorCode::kMalformedFrame);
  }
  for (const std::uint32_t table_bytes : {25U, 0x7FFFFFFFU, 0xFFFFFFE0U, 0xFFFFFFFFU}) {
    EXPECT_EQ(decode_error(prefix_with(24, table_bytes), kFrameBytesMax).code(),
              ErrorCode::kMalformedFrame);
  }
}

TEST_F(FrameTest, RefusesUnknownFlags) {
  EXPECT_EQ(decode_error(prefix_with(20, 4), kFrameBytesMax).code(), ErrorCode::kMalformedFrame);
  EXPECT_EQ(decode_error(prefix_with(20, 1 << 16), kFrameBytesMax).code(),
            ErrorCode::kMalformedFrame);
}

TEST_F(FrameTest, NamesWhatAForeignPeerSpeaks) {
  const auto message = [](std::string_view first_bytes) {
    std::vector<std::byte> bytes(kFramePrefixBytes);
    std::ranges::copy(as_bytes(first_bytes), bytes.begin());
    const Error error = decode_error(bytes, kFrameBytesMax);
    EXPECT_EQ(error.code(), ErrorCode::kMalformedFrame);
    return error.message();
  };
  EXPECT_THAT(message("GET / HTTP/1.1\r\nHost: x\r\n"), HasSubstr("HTTP"));
  EXPECT_THAT(message("PRI * HTTP/2.0\r\n\r\nSM"), HasSubstr("HTTP"));
  EXPECT_THAT(message("HTTP/1.1 400 Bad Request"), HasSubstr("HTTP"));
  const std::string_view client_hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  EXPECT_THAT(message(client_hello), HasSubstr("TLS"));
  // ApiVersions, version 3, correlation 1, client id "rdkafka".
  const std::string_view request("\x00\x00\x00\x24\x00\x12\x00\x03\x00\x00\x00\x01\x00\x07rdkafka",
                                 21);
  EXPECT_THAT(message(request), HasSubstr("Apache Kafka"));
  EXPECT_THAT(message("hello, broker"), HasSubstr("68 65 6c 6c 6f 2c 20 62"));
}

TEST_F(FrameTest, ListsEachApiOnceByKey) {
  std::set<std::string_view> names;
  std::uint16_t key_before = 0;
  for (const ApiInfo& api : api_table()) {
    const auto key = static_cast<std::uint16_t>(api.key);
    EXPECT_TRUE(names.insert(api.name).second) << api.name;
    EXPECT_TRUE(key > key_before || api.key == ApiKey::kNotice);
    EXPECT_LE(api.version_min, api.version_max);
    EXPECT_EQ(api_info(key), &api);
    key_before = key;
  }
  EXPECT_EQ(api_info(9), nullptr);
  EXPECT_EQ(api_info(65535), nullptr);
}

class TableTest : public testing::Test {
 protected:
  // A hello request in memory aligned as a receiver's is.
  Buffer hello() {
    flatbuffers::FlatBufferBuilder builder;
    const auto features = builder.CreateVectorOfStrings({"abc", "def"});  // no padding behind
    const auto name = builder.CreateString("test");
    fb::HelloRequestBuilder request(builder);
    request.add_client_name(name);
    request.add_features(features);
    request.add_frame_bytes_max(1 << 20);
    builder.Finish(request.Finish());
    bytes_ = builder.GetSize();
    Buffer buffer = Buffer::allocate(bytes_);
    std::memcpy(buffer.data(), builder.GetBufferPointer(), bytes_);
    return buffer;
  }
  std::size_t bytes_ = 0;
};

TEST_F(TableTest, GivesTheFieldsOfASoundTable) {
  const Buffer buffer = hello();
  const auto* request = verified_table<fb::HelloRequest>(buffer.bytes().first(bytes_));
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->client_name()->string_view(), "test");
  EXPECT_EQ(request->features()->size(), 2U);
  EXPECT_EQ(request->frame_bytes_max(), 1U << 20);
  EXPECT_EQ(request->wanted_shard(), -1);
}

TEST_F(TableTest, RefusesATableThatIsCutAtAnyByte) {
  const Buffer buffer = hello();
  int refused = 0;
  for (std::size_t size = 0; size < bytes_; ++size) {
    // A copy of exactly this size, so that ASan sees a read behind it.
    const std::unique_ptr<std::uint64_t[]> copy(new std::uint64_t[size / 8 + 1]);
    std::memcpy(copy.get(), buffer.data(), size);
    const std::span bytes(reinterpret_cast<const std::byte*>(copy.get()), size);
    if (verified_table<fb::HelloRequest>(bytes) == nullptr) ++refused;
  }
  EXPECT_EQ(refused, static_cast<int>(bytes_));
}

TEST_F(TableTest, RefusesStructsThatAreNotAligned) {
  // A list of one entry whose 64-bit field would lie on a multiple of 4.
  const std::vector<std::byte> bytes = bytes_of_hex(
      "0c000000 0600 0800 0400 0000 08000000 08000000 00000000 01000000"
      "000102030405060708090a0b0c0d0e0f 07000000 00000000 ffffffffffffffff");
  Buffer buffer = Buffer::allocate(bytes.size());
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  const std::span table = buffer.bytes().first(bytes.size());
  EXPECT_EQ(verified_table<fb::ListOffsetsRequest>(table), nullptr);
  EXPECT_EQ(verified_table<fb::DeleteRecordsRequest>(table), nullptr) << "of the same layout";
  // Four bytes further they are.
  std::memmove(buffer.data() + 28, buffer.data() + 24, bytes.size() - 24);
  store_le<std::uint32_t>(buffer.data() + 16, 12);
  const auto* request =
      verified_table<fb::ListOffsetsRequest>(buffer.bytes().first(bytes.size() + 4));
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->entries()->Get(0)->timestamp_ms(), -1);
  EXPECT_NE(verified_table<fb::DeleteRecordsRequest>(buffer.bytes().first(bytes.size() + 4)),
            nullptr);
}

TEST_F(TableTest, NeverReadsOutsideATableWithFlippedBits) {
  Buffer buffer = hello();
  for (std::size_t bit = 0; bit < bytes_ * 8; ++bit) {
    buffer.data()[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const auto* request = verified_table<fb::HelloRequest>(buffer.bytes().first(bytes_));
    if (request != nullptr && request->features() != nullptr) {
      for (const auto* feature : *request->features()) {
        EXPECT_LE(feature->size(), bytes_);
      }
    }
    buffer.data()[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

}  // namespace
}  // namespace tidelog::wire
