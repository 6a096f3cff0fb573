// LZ4 in its frame format.
#include <lz4frame.h>

#include <utility>

#include "base/check.h"
#include "wire/codecs.h"

namespace tidelog::wire::codecs {
namespace {

using Decompressor = std::unique_ptr<LZ4F_dctx, FreeWith<LZ4F_freeDecompressionContext>>;

// Of this thread; null behind a frame that did not come to its end. Its reset does not forget the
// content size which such a frame announced, and the next frame would be refused for it (1.9.4).
Decompressor& decompressor() {
  thread_local Decompressor context;
  return context;
}

Decompressor new_decompressor() {
  LZ4F_dctx* made = nullptr;
  TIDELOG_CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)),
                "memory for a decompression context");
  return Decompressor(made);
}

}  // namespace

void compress_lz4(Bytes in, int level, std::vector<std::byte>& out) {
  // Independent blocks of 64 KiB are what every reader of the Apache Kafka encoding takes.
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.compressionLevel = level;
  out.resize(LZ4F_compressFrameBound(in.size(), &preferences));
  const std::size_t size =
      LZ4F_compressFrame(out.data(), out.size(), in.data(), in.size(), &preferences);
  TIDELOG_CHECK(!LZ4F_isError(size), "lz4 compresses into a buffer of its own bound");
  out.resize(size);
}

Result<> decompress_lz4(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out) {
  Decompressor context = std::exchange(decompressor(), nullptr);
  if (!context) context = new_decompressor();
  auto result = decompress_stream(
      Codec::kLz4, in, bytes_max, out, [&context](Bytes from, std::span<std::byte> to) {
        Step did{.taken = from.size(), .made = to.size()};
        const std::size_t left =
            LZ4F_decompress(context.get(), to.data(), &did.made, from.data(), &did.taken, nullptr);
        if (LZ4F_isError(left)) did.error = LZ4F_getErrorName(left);
        did.frame_ended = left == 0;
        return did;
      });
  if (result) decompressor() = std::move(context);
  return result;
}

}  // namespace tidelog::wire::codecs
