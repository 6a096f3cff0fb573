#include "broker/frame_reader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/bytes.h"
#include "wire/limits.h"

namespace tidelog::broker {
namespace {

class FrameReaderTest : public ::testing::Test {
 protected:
  std::vector<std::byte> frame(std::size_t table_bytes, std::size_t raw_bytes) {
    std::vector<std::byte> table(table_bytes);
    for (std::byte& byte : table) byte = static_cast<std::byte>(random_());
    const SharedBytes head = wire::encode_frame(
        {.api = wire::ApiKey::kProduce, .correlation = ++last_}, table, raw_bytes, pool_);
    std::vector<std::byte> bytes(head.bytes().begin(), head.bytes().end());
    bytes.resize(bytes.size() + raw_bytes);
    for (std::size_t i = head.size(); i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(random_());
    }
    return bytes;
  }

  // Gives the reader as many of `bytes` as it has room for, at most `bytes_max`; returns how many.
  static std::size_t give(FrameReader& reader, std::span<const std::byte> bytes,
                          std::size_t bytes_max) {
    const FrameReader::Space space = reader.space();
    EXPECT_GT(space.bytes_min, 0U);
    EXPECT_LE(space.bytes_min, space.into.size());
    const std::size_t n = std::min({bytes.size(), bytes_max, space.into.size()});
    std::memcpy(space.into.data(), bytes.data(), n);
    reader.received(n);
    return n;
  }

  // The next frame, if it is there.
  static std::optional<Frame> next(FrameReader& reader) {
    const auto prefix = reader.peek(wire::kFrameBytesMax);
    EXPECT_TRUE(prefix);
    if (!*prefix) return std::nullopt;
    if (!reader.admitted()) reader.admit();
    auto taken = reader.take();
    EXPECT_TRUE(taken);
    return std::move(*taken);
  }

  BufferPool pool_{16 << 20};
  std::mt19937 random_{7};
  std::uint64_t last_ = 0;
};

TEST_F(FrameReaderTest, LooksAtTheFirstBytesBeforeAWholePrefixIsThere) {
  for (const std::string_view text : {"T", "TI", "TID", "TIDE"}) {
    FrameReader reader(pool_);
    give(reader, as_bytes(text), text.size());
    const auto prefix = reader.peek(wire::kFrameBytesMax);
    ASSERT_TRUE(prefix) << text;
    EXPECT_FALSE(*prefix) << text;
  }
  for (const std::string_view text : {"G", "TX", "TIDX"}) {
    FrameReader reader(pool_);
    give(reader, as_bytes(text), text.size());
    EXPECT_EQ(reader.peek(wire::kFrameBytesMax).error().code(), ErrorCode::kMalformedFrame) << text;
  }
}

TEST_F(FrameReaderTest, EveryCutOfAStreamGivesTheSameFrames) {
  std::vector<std::vector<std::byte>> frames;
  std::vector<std::byte> stream;
  for (int i = 0; i < 300; ++i) {
    const std::size_t raw = i % 10 == 0 ? random_() % 300'000 : random_() % 3'000;
    frames.push_back(frame(random_() % 200, raw));
    stream.insert(stream.end(), frames.back().begin(), frames.back().end());
  }
  for (const std::size_t piece_max : {1U << 20, 50'000U, 1'000U, 37U}) {
    FrameReader reader(pool_);
    std::vector<Frame> held;  // slices that are kept must not change while reading goes on
    std::size_t position = 0;
    std::size_t seen = 0;
    while (seen < frames.size()) {
      std::optional<Frame> found = next(reader);
      if (!found) {
        ASSERT_LT(position, stream.size());
        position += give(reader, std::span(stream).subspan(position), piece_max);
        continue;
      }
      const std::vector<std::byte>& expected = frames[seen++];
      EXPECT_EQ(found->prefix.correlation, seen);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(found->table.data()) % 8, 0U);
      EXPECT_EQ(std::memcmp(found->table.data(), expected.data() + wire::kFramePrefixBytes,
                            found->table.size()),
                0);
      held.push_back(std::move(*found));
    }
    EXPECT_FALSE(reader.inside_frame());
    for (std::size_t i = 0; i < held.size(); ++i) {
      const std::size_t raw_position = held[i].prefix.raw_position();
      ASSERT_EQ(held[i].raw.size(), frames[i].size() - raw_position);
      EXPECT_TRUE(
          std::ranges::equal(held[i].raw.bytes(), std::span(frames[i]).subspan(raw_position)));
    }
  }
}

TEST_F(FrameReaderTest, NothingIsTakenForAPayloadBeforeItsTableIsSound) {
  std::vector<std::byte> bytes = frame(100, 4 << 20);
  bytes[40] ^= std::byte{1};
  FrameReader reader(pool_);
  give(reader, bytes, 4096);
  ASSERT_TRUE(reader.peek(wire::kFrameBytesMax));
  reader.admit();
  const std::size_t before = pool_.outstanding_bytes();
  const auto taken = reader.take();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code(), ErrorCode::kChecksumMismatch);
  EXPECT_EQ(pool_.outstanding_bytes(), before);
}

TEST_F(FrameReaderTest, AnIdleReaderHoldsLittle) {
  FrameReader reader(pool_);
  const std::vector<std::byte> small = frame(20, 0);
  const std::vector<std::byte> large = frame(20, 1 << 20);
  std::size_t position = 0;
  while (!next(reader)) position += give(reader, std::span(large).subspan(position), 1 << 20);
  for (int i = 0; i < 10; ++i) {
    give(reader, small, small.size());
    ASSERT_TRUE(next(reader));
  }
  reader.space();
  EXPECT_LE(pool_.outstanding_bytes(), 16U * 1024);
}

}  // namespace
}  // namespace tidelog::broker
