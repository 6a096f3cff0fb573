// Zstandard frames.
#include <zstd.h>

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
  return decompress_stream(
      Codec::kZstd, in, bytes_max, out, [context](Bytes from, std::span<std::byte> to) {
        ZSTD_inBuffer input{from.data(), from.size(), 0};
        ZSTD_outBuffer output{to.data(), to.size(), 0};
        const std::size_t left = ZSTD_decompressStream(context, &output, &input);
        return Step{.taken = input.pos,
                    .made = output.pos,
                    .frame_ended = left == 0,
                    .error = ZSTD_isError(left) ? ZSTD_getErrorName(left) : nullptr};
      });
}

}  // namespace tidelog::wire::codecs
