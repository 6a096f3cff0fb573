#include "base/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace tidelog {
namespace {

constexpr std::uint64_t kPrime32 = 2654435761U;
constexpr std::uint64_t kPrime64 = 11400714785074694797ULL;

struct Vector {
  std::size_t bytes;
  std::uint64_t unseeded;
  std::uint64_t seeded;  // by kPrime64
};
// Published with xxHash's own sanity check, one for each of its code paths by length.
constexpr Vector kVectors[] = {
    {0, 0x2D06800538D394C2, 0xA8A6B918B2F0364A},   {1, 0xC44BDFF4074EECDB, 0x032BE332DD766EF8},
    {6, 0x27B56A84CD2D7325, 0x84589C116AB59AB9},   {12, 0xA713DAF0DFBB77E7, 0xE7303E1B2336DE0E},
    {24, 0xA3FE70BF9D3510EB, 0x850E80FC35BDD690},  {48, 0x397DA259ECBA1F11, 0xADC2CBAA44ACC616},
    {80, 0xBCDEFBBB2C47C90A, 0xC6DD0CB699532E73},  {195, 0xCD94217EE362EC3A, 0xBA68003D370CB3D9},
    {403, 0xCDEB804D65C6DEA4, 0x6259F6ECFD6443FD}, {512, 0x617E49599013CB6B, 0x3CE457DE14C27708},
};

std::vector<std::byte> sanity_buffer(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::uint64_t state = kPrime32;
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(state >> 56);
    state *= kPrime64;
  }
  return bytes;
}

TEST(ChecksumTest, HasThePublishedValues) {
  const std::vector<std::byte> bytes = sanity_buffer(512);
  for (const Vector& vector : kVectors) {
    const auto part = std::span(bytes).first(vector.bytes);
    EXPECT_EQ(xxh3_64(part), vector.unseeded) << vector.bytes;
    EXPECT_EQ(xxh3_64(part, kPrime64), vector.seeded) << vector.bytes;
  }
}

TEST(ChecksumTest, IsTheSameForBytesInPieces) {
  const std::vector<std::byte> bytes = sanity_buffer(2000);
  for (const std::size_t size : {0UL, 1UL, 60UL, 240UL, 241UL, 1024UL, 2000UL}) {
    const auto whole = std::span(bytes).first(size);
    for (std::size_t cut = 0; cut <= size; cut += 1 + size / 13) {
      EXPECT_EQ(xxh3_64_of_two(whole.first(cut), whole.subspan(cut), 7), xxh3_64(whole, 7));
    }
  }
}

}  // namespace
}  // namespace tidelog
