// One codec (TIDELOG_FUZZED_CODEC): what comes as compressed records, and what goes in and must
// come back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "wire/compression.h"

namespace tidelog::wire {
namespace {

constexpr Codec kCodec = Codec::TIDELOG_FUZZED_CODEC;
constexpr std::size_t kBytesMax = 1 << 20;

void fuzz_codec(std::span<const std::byte> input) {
  static std::vector<std::byte> out;
  static std::vector<std::byte> packed;
  const auto unpacked = decompress(kCodec, input, kBytesMax, out);
  TIDELOG_CHECK(out.size() <= kBytesMax, "decompression keeps to its limit");
  if (unpacked) {
    const std::size_t bytes = out.size();
    TIDELOG_CHECK(decompress(kCodec, input, bytes, out), "what fits into a limit comes out");
    if (bytes > 0) {
      const auto refused = decompress(kCodec, input, bytes - 1, out);
      TIDELOG_CHECK(!refused && refused.error().code() == ErrorCode::kTooLarge,
                    "a limit one byte below is kept");
    }
  }
  const int levels = codec_levels(kCodec).max;
  const int level = input.empty() || levels == 0 ? 0 : static_cast<int>(input[0]) % (levels + 1);
  TIDELOG_CHECK(compress({kCodec, level}, input, packed), "anything can be compressed");
  TIDELOG_CHECK(decompress(kCodec, packed, input.size(), out) && std::ranges::equal(out, input),
                "what was compressed comes back");
}

}  // namespace
}  // namespace tidelog::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::wire::fuzz_codec({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
