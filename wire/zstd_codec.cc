// Zstandard frames.
#include <zstd.h>

#include <cstdint>
#include <utility>

#include "base/check.h"
#include "wire/codecs.h"

namespace tidelog::wire::codecs {
namespace {

// zstd reserves the window that a frame asks for, whatever comes out of it; 8 MiB is what every
// decoder is expected to give.
constexpr int kWindowBits = 23;

using Compressor = std::unique_ptr<ZSTD_CCtx, FreeWith<ZSTD_freeCCtx>>;
using Decompressor = std::unique_ptr<ZSTD_DCtx, FreeWith<ZSTD_freeDCtx>>;

ZSTD_CCtx* compressor() {
  thread_local const Compressor context(ZSTD_createCCtx());
  TIDELOG_CHECK(context != nullptr, "memory for a compression context");
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local const Decompressor context(ZSTD_createDCtx());
  TIDELOG_CHECK(context != nullptr, "memory for a decompression context");
  return context.get();
}

}  // namespace

void compress_zstd(Bytes in, int level, std::vector<std::byte>& out) {
  ZSTD_CCtx* context = compressor();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  out.resize(ZSTD_compressBound(in.size()));
  const std::size_t size = ZSTD_compress2(context, out.data(), out.size(), in.data(), in.size());
  TIDELOG_CHECK(!ZSTD_isError(size), "zstd compresses into a buffer of its own bound");
  out.resize(size);
}

Result<> decompress_zstd(Bytes in, std::size_t bytes_max, std::vector<std::byte>& out) {
  ZSTD_DCtx* context = decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kWindowBits);
  // Whether zstd holds a frame to the size that it announces depends on the room it is given, so
  // that the same bytes would be sound in one place and damaged in another.
  std::uint64_t announced = ZSTD_CONTENTSIZE_UNKNOWN;
  std::uint64_t made = 0;
  bool in_frame = false;
  return decompress_stream(
      Codec::kZstd, in, bytes_max, out, [&](Bytes from, std::span<std::byte> to) {
        if (!std::exchange(in_frame, true)) {
          announced = ZSTD_getFrameContentSize(from.data(), from.size());
          made = 0;
        }
        ZSTD_inBuffer input{from.data(), from.size(), 0};
        ZSTD_outBuffer output{to.data(), to.size(), 0};
        const std::size_t left = ZSTD_decompressStream(context, &output, &input);
        made += output.pos;
        const char* error = ZSTD_isError(left) ? ZSTD_getErrorName(left) : nullptr;
        if (left == 0) {
          in_frame = false;
          const bool known =
              announced != ZSTD_CONTENTSIZE_UNKNOWN && announced != ZSTD_CONTENTSIZE_ERROR;
          if (known && made != announced) error = "a frame has another size than it announces";
        }
        return Step{
            .taken = input.pos, .made = output.pos, .frame_ended = left == 0, .error = error};
      });
}

}  // namespace tidelog::wire::codecs
