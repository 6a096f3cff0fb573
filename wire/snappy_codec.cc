// Snappy: one raw block is written. Read is that, and the blocks with a length before each that
// some producers of the Apache Kafka protocol write ("xerial" framing).
#include <snappy.h>

#include <array>
#include <cstring>

#include "wire/codecs.h"

namespace tidelog::wire::codecs {
namespace {

// An element of 3 bytes makes at most 64: a block cannot hold more than this many times its bytes.
constexpr std::size_t kExpansionMax = 22;

// Magic, version and the oldest version that can read it, both big-endian.
constexpr std::size_t kFramingHeadBytes = 16;
constexpr std::array<unsigned char, 8> kFramingMagic = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
constexpr std::uint32_t kFramingVersion = 1;

std::uint32_t load_big_endian(const std::byte* from) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(from[i]);
  return value;
}

bool has_framing(Bytes in) {
  return in.size() >= kFramingMagic.size() &&
         std::memcmp(in.data(), kFramingMagic.data(), kFramingMagic.size()) == 0;
}

// Appends what one raw block holds to the first `made` bytes of `out`.
Result<> append_block(Bytes block, std::size_t bytes_max, std::vector<std::byte>& out,
                      std::size_t& made) {
  const char* from = reinterpret_cast<const char*>(block.data());
  std::size_t bytes = 0;
  if (!snappy::GetUncompressedLength(from, block.size(), &bytes)) {
    return damaged(Codec::kSnappy, "a block has no length");
  }
  if (bytes > bytes_max - made) return too_large(Codec::kSnappy, bytes_max);
  if (bytes / kExpansionMax > block.size()) {
    return damaged(Codec::kSnappy, "a block promises more than it can hold");
  }
  out.resize(made + bytes);
  if (!snappy::RawUncompress(from, block.size(), reinterpret_cast<char*>(out.data()) + made)) {
    return damaged(Codec::kSnappy, "a block cannot be read");
  }
  made += bytes;
  return {};
}

}  // namespace

void compress_snappy(Bytes in, std::vector<std::byte>& out) {
  out.resize(snappy::MaxCompressedLength(in.size()));
  std::size_t size = 0;
  snappy::RawCompress(reinterpret_cast<const char*>(in.data()), in.size(),
                      reinterpret_cast<char*>(out.data()), &size);
  out.resize(size);
}

Result<> decompress_snappy(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out) {
  out.clear();
  std::size_t made = 0;
  if (!has_framing(in)) return append_block(in, bytes_max, out, made);
  if (in.size() < kFramingHeadBytes || load_big_endian(in.data() + 12) > kFramingVersion) {
    return damaged(Codec::kSnappy, "their framing is of an unknown version");
  }
  for (in = in.subspan(kFramingHeadBytes); !in.empty();) {
    constexpr std::size_t kLengthBytes = 4;
    if (in.size() < kLengthBytes) return damaged(Codec::kSnappy, "they end too early");
    const std::size_t length = load_big_endian(in.data());
    in = in.subspan(kLengthBytes);
    if (length > in.size()) return damaged(Codec::kSnappy, "they end too early");
    TIDELOG_TRY(append_block(in.first(length), bytes_max, out, made));
    in = in.subspan(length);
  }
  return {};
}

}  // namespace tidelog::wire::codecs
