#include "wire/compression.h"

#include <gtest/gtest.h>

#include <random>

#include "base/bytes.h"
#include "tests/wire/hex.h"

namespace tidelog::wire {
namespace {

constexpr std::string_view kText =
    "tidelog tidelog tidelog tidelog tidelog tidelog tidelog tidelog";

class CompressionTest : public testing::TestWithParam<Codec> {
 protected:
  std::vector<std::byte> compressed(std::span<const std::byte> in) {
    std::vector<std::byte> out;
    const auto result = compress(GetParam(), in, out);
    EXPECT_TRUE(result.has_value());
    return out;
  }
  ErrorCode decompress_code(std::span<const std::byte> in, std::size_t bytes_max) {
    const auto result = decompress(GetParam(), in, bytes_max, out_);
    return result ? ErrorCode::kOk : result.error().code();
  }
  std::vector<std::byte> out_;
};

// Codecs that interpret their input.
class RealCodecTest : public CompressionTest {};

TEST_P(CompressionTest, GivesBackWhatWentInAtEverySize) {
  std::mt19937 random(1);
  for (const std::size_t size : {0, 1, 2, 100, 4096, 65535, 65536, 65537, 300'000, 3'000'000}) {
    std::vector<std::byte> in(size);
    for (std::byte& byte : in) byte = static_cast<std::byte>(random() % 7);
    const std::vector<std::byte> packed = compressed(in);
    ASSERT_EQ(decompress_code(packed, size), ErrorCode::kOk) << size;
    EXPECT_TRUE(out_ == in) << size;
  }
}

TEST_P(RealCodecTest, NeverGrowsBeyondItsLimit) {
  const std::vector<std::byte> zeros(64 << 20);
  const std::vector<std::byte> bomb = compressed(zeros);
  EXPECT_LT(bomb.size(), zeros.size() / 20);
  EXPECT_EQ(decompress_code(bomb, 1 << 20), ErrorCode::kTooLarge);
  EXPECT_LE(out_.capacity(), std::size_t{2} << 20);
  EXPECT_EQ(decompress_code(bomb, zeros.size() - 1), ErrorCode::kTooLarge);
  EXPECT_EQ(decompress_code(bomb, 0), ErrorCode::kTooLarge);
  EXPECT_EQ(decompress_code(bomb, zeros.size()), ErrorCode::kOk);
  EXPECT_EQ(out_.size(), zeros.size());
}

TEST_P(RealCodecTest, RefusesInputThatIsCutAtAnyByte) {
  const std::vector<std::byte> packed = compressed(as_bytes(kText));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    EXPECT_EQ(decompress_code(std::span(packed).first(size), 1000), ErrorCode::kInvalidBatch)
        << size;
  }
}

TEST_P(RealCodecTest, SurvivesEveryFlippedBitAndGarbageBehind) {
  std::vector<std::byte> packed = compressed(as_bytes(kText));
  for (std::size_t bit = 0; bit < packed.size() * 8; ++bit) {
    packed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    decompress_code(packed, 1000);
    EXPECT_LE(out_.size(), 1000U);
    packed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  // A damaged input leaves nothing behind in the context that the next one could stumble over.
  EXPECT_EQ(decompress_code(packed, 1000), ErrorCode::kOk);
  packed.resize(packed.size() + 9, std::byte{0x55});
  EXPECT_EQ(decompress_code(packed, 1000), ErrorCode::kInvalidBatch);
}

INSTANTIATE_TEST_SUITE_P(EachCodec, CompressionTest,
                         testing::ValuesIn(supported_codecs().begin(), supported_codecs().end()),
                         [](const auto& info) { return std::string(codec_name(info.param)); });

INSTANTIATE_TEST_SUITE_P(EachCodec, RealCodecTest,
                         testing::Values(Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd),
                         [](const auto& info) { return std::string(codec_name(info.param)); });

TEST(CompressionFormatTest, ReadsWhatTheStandardToolsWrite) {
  // gzip, lz4 -c and zstd -c of kText with their checksums, and its raw Snappy block.
  const auto gzip = bytes_of_hex("1f8b08000000000002032bc94c49cdc94f5728218f06005ec4c6ee3f000000");
  const auto snappy = bytes_of_hex("3f1c746964656c6f6720da0800");
  const auto lz4 =
      bytes_of_hex("04224d186440a7120000008f746964656c6f672008001f5064656c6f6700000000b1c07650");
  const auto zstd = bytes_of_hex("28b52ffd243f75000040746964656c6f67200100dc59b8d90ac669");
  std::vector<std::byte> out;
  ASSERT_TRUE(decompress(Codec::kGzip, gzip, 1000, out).has_value());
  EXPECT_EQ(as_text(out), kText);
  ASSERT_TRUE(decompress(Codec::kSnappy, snappy, 1000, out).has_value());
  EXPECT_EQ(as_text(out), kText);
  ASSERT_TRUE(decompress(Codec::kLz4, lz4, 1000, out).has_value());
  EXPECT_EQ(as_text(out), kText);
  ASSERT_TRUE(decompress(Codec::kZstd, zstd, 1000, out).has_value());
  EXPECT_EQ(as_text(out), kText);
}

// The window is memory that a frame of a few bytes can ask for.
TEST(CompressionFormatTest, RefusesAZstdWindowAboveTheLimitWhateverMayComeOut) {
  // One raw block, "x", behind a window of 8 MiB and of 16 MiB.
  std::vector<std::byte> out;
  ASSERT_TRUE(
      decompress(Codec::kZstd, bytes_of_hex("28b52ffd006809000078"), 64 << 20, out).has_value());
  EXPECT_EQ(as_text(out), "x");
  const auto refused =
      decompress(Codec::kZstd, bytes_of_hex("28b52ffd007009000078"), 64 << 20, out);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidBatch);
}

TEST(CompressionFormatTest, ReadsGzipOfSeveralMembersWithNamesInTheirHeaders) {
  // gzip -c of a file note.txt, and of standard input, one behind the other.
  auto two = bytes_of_hex(
      "1f8b080800f1536502ff6e6f74652e747874002bc94c49cdc94f5728c1410300e7a41ac520000000");
  const auto second =
      bytes_of_hex("1f8b08000000000002032bc94c49cdc94f5728c14e0300be29f5af1f000000");
  two.insert(two.end(), second.begin(), second.end());
  std::vector<std::byte> out;
  ASSERT_TRUE(decompress(Codec::kGzip, two, 1000, out).has_value());
  EXPECT_EQ(as_text(out), kText);
  EXPECT_EQ(decompress(Codec::kGzip, two, kText.size() - 1, out).error().code(),
            ErrorCode::kTooLarge);
}

// Blocks with a big-endian length before each, as some Java clients write them.
TEST(CompressionFormatTest, ReadsFramedSnappy) {
  const std::string head = "82534e41505059000000000100000001";
  std::vector<std::byte> out;
  auto framed = bytes_of_hex(head + "0000000d" + "3f1c746964656c6f6720da0800");
  ASSERT_TRUE(decompress(Codec::kSnappy, framed, 1000, out).has_value());
  EXPECT_EQ(as_text(out), kText);
  auto twice = framed;
  twice.insert(twice.end(), framed.begin() + 16, framed.end());
  ASSERT_TRUE(decompress(Codec::kSnappy, twice, 1000, out).has_value());
  EXPECT_EQ(as_text(out), std::string(kText) + std::string(kText));
  EXPECT_EQ(decompress(Codec::kSnappy, twice, 100, out).error().code(), ErrorCode::kTooLarge);
  for (std::size_t size = 8; size < twice.size(); ++size) {
    if (size == 16 || size == framed.size()) continue;  // whole blocks
    EXPECT_FALSE(decompress(Codec::kSnappy, std::span(twice).first(size), 1000, out)) << size;
  }
  twice[15] = std::byte{2};
  EXPECT_FALSE(decompress(Codec::kSnappy, twice, 1000, out)) << "a version that is not known";
}

// Its length is known before anything is read; memory of that size may not be.
TEST(CompressionFormatTest, RefusesASnappyBlockThatPromisesMoreThanItCanHold) {
  std::vector<std::byte> out;
  const auto promise = bytes_of_hex("808080200061");  // 64 MiB, and one byte
  const auto refused = decompress(Codec::kSnappy, promise, 64 << 20, out);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidBatch);
  EXPECT_LT(out.capacity(), std::size_t{1} << 20);
}

TEST(CompressionFormatTest, ALz4FrameThatAnnouncedItsSizeAndBrokeOffDoesNotSpoilTheNextOne) {
  // Magic, flags (content size and checksum follow), block size, content size, header checksum; and
  // the length of a block that does not come.
  const auto announced = bytes_of_hex("04224d186c40a7120000008ff46964656c6f67");
  std::vector<std::byte> packed;
  std::vector<std::byte> out;
  ASSERT_TRUE(compress({Codec::kLz4, 0}, as_bytes("records"), packed));
  for (std::size_t size = 7; size <= announced.size(); ++size) {
    EXPECT_FALSE(decompress(Codec::kLz4, std::span(announced).first(size), 100, out));
    EXPECT_TRUE(decompress(Codec::kLz4, packed, 100, out)) << size;
    EXPECT_TRUE(std::ranges::equal(out, as_bytes("records")));
  }
}

TEST(CompressionFormatTest, RefusesAZstdFrameOfAnotherSizeThanItAnnouncesWhateverTheRoom) {
  // Announces 26,880 bytes and has none; behind it a frame without a size, of nothing either.
  const auto packed = bytes_of_hex("28b52ffd60006801000028b52ffd0068010000");
  for (const std::size_t room : {0, 1, 26879, 26880, 100000}) {
    std::vector<std::byte> out;
    const auto refused = decompress(Codec::kZstd, packed, room, out);
    ASSERT_FALSE(refused.has_value()) << room;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidBatch) << room;
  }
  std::vector<std::byte> out;
  EXPECT_TRUE(decompress(Codec::kZstd, std::span(packed).subspan(10), 0, out));
}

TEST(CompressionFormatTest, TakesEveryLevelAndNoOther) {
  std::vector<std::byte> in(200'000);
  std::mt19937 random(2);
  for (std::byte& byte : in) byte = static_cast<std::byte>(random() % 3);
  std::vector<std::byte> packed;
  std::vector<std::byte> out;
  for (const Codec codec : supported_codecs()) {
    const CodecLevels levels = codec_levels(codec);
    for (int level = 0; level <= levels.max; ++level) {
      ASSERT_TRUE(compress({codec, level}, in, packed).has_value()) << level;
      ASSERT_TRUE(decompress(codec, packed, in.size(), out).has_value()) << level;
      EXPECT_TRUE(out == in) << codec_name(codec) << " " << level;
    }
    for (const int level : {-1, levels.max + 1}) {
      EXPECT_EQ(compress({codec, level}, in, packed).error().code(), ErrorCode::kInvalidArgument)
          << codec_name(codec) << " " << level;
    }
  }
}

TEST(CompressionFormatTest, KnowsNamesAndRefusesOtherCodecs) {
  for (const Codec codec : supported_codecs()) EXPECT_EQ(parse_codec(codec_name(codec)), codec);
  EXPECT_EQ(supported_codecs().size(), 5U);
  EXPECT_EQ(parse_codec("brotli"), std::nullopt);
  EXPECT_EQ(parse_codec(""), std::nullopt);
  std::vector<std::byte> out;
  for (const int number : {5, 6, 7}) {
    const auto codec = static_cast<Codec>(number);
    EXPECT_FALSE(codec_supported(codec));
    EXPECT_EQ(compress(codec, {}, out).error().code(), ErrorCode::kUnsupportedCodec);
    EXPECT_EQ(decompress(codec, {}, 10, out).error().code(), ErrorCode::kUnsupportedCodec);
  }
}

}  // namespace
}  // namespace tidelog::wire
