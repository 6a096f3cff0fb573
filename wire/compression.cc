#include "wire/compression.h"

#include <fmt/format.h>
#include <lz4frame.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/check.h"

namespace tidelog::wire {
namespace {

constexpr std::array kSupported = {Codec::kNone, Codec::kLz4, Codec::kZstd};

// zstd reserves the window that a frame asks for, whatever comes out of it; 8 MiB is what every
// decoder is expected to give.
constexpr int kZstdWindowBits = 23;

// Contexts are costly to make and bound to no batch: one of each a thread.
template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* context) const {
    Free(context);
  }
};
using ZstdCompressor = std::unique_ptr<ZSTD_CCtx, FreeWith<ZSTD_freeCCtx>>;
using ZstdDecompressor = std::unique_ptr<ZSTD_DCtx, FreeWith<ZSTD_freeDCtx>>;
using Lz4Decompressor = std::unique_ptr<LZ4F_dctx, FreeWith<LZ4F_freeDecompressionContext>>;

ZSTD_CCtx* zstd_compressor() {
  thread_local const ZstdCompressor context(ZSTD_createCCtx());
  TIDELOG_CHECK(context != nullptr, "memory for a compression context");
  return context.get();
}

ZSTD_DCtx* zstd_decompressor() {
  thread_local const ZstdDecompressor context(ZSTD_createDCtx());
  TIDELOG_CHECK(context != nullptr, "memory for a decompression context");
  return context.get();
}

LZ4F_dctx* lz4_decompressor() {
  thread_local const Lz4Decompressor context([] {
    LZ4F_dctx* made = nullptr;
    TIDELOG_CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)),
                  "memory for a decompression context");
    return made;
  }());
  return context.get();
}

std::unexpected<Error> unsupported(Codec codec) {
  return fail(ErrorCode::kUnsupportedCodec,
              fmt::format("compression {} is not supported", codec_name(codec)));
}

std::unexpected<Error> damaged(Codec codec, std::string_view cause) {
  return fail(ErrorCode::kInvalidBatch,
              fmt::format("records compressed by {} are damaged: {}", codec_name(codec), cause));
}

void compress_lz4(std::span<const std::byte> in, std::vector<std::byte>& out) {
  // Independent blocks of 64 KiB are what every reader of the Apache Kafka encoding takes.
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  out.resize(LZ4F_compressFrameBound(in.size(), &preferences));
  const std::size_t size =
      LZ4F_compressFrame(out.data(), out.size(), in.data(), in.size(), &preferences);
  TIDELOG_CHECK(!LZ4F_isError(size), "lz4 compresses into a buffer of its own bound");
  out.resize(size);
}

void compress_zstd(std::span<const std::byte> in, std::vector<std::byte>& out) {
  out.resize(ZSTD_compressBound(in.size()));
  const std::size_t size =
      ZSTD_compress2(zstd_compressor(), out.data(), out.size(), in.data(), in.size());
  TIDELOG_CHECK(!ZSTD_isError(size), "zstd compresses into a buffer of its own bound");
  out.resize(size);
}

// What one step of a decompressor did.
struct Step {
  std::size_t taken = 0;
  std::size_t made = 0;
  bool frame_ended = false;
  const char* error = nullptr;
};

// Feeds `in` to `step` and lets `out` grow with what really comes out, never with what is promised.
// Every byte beyond `bytes_max` goes to `beyond` and ends it.
template <typename StepFunction>
Result<> decompress_stream(Codec codec, std::span<const std::byte> in, std::size_t bytes_max,
                           std::vector<std::byte>& out, StepFunction step) {
  const std::size_t guess = std::max<std::size_t>(in.size() * 4, 16 * 1024);
  out.resize(std::min(bytes_max, std::max(out.size(), guess)));
  std::size_t made = 0;
  bool frame_ended = false;
  for (;;) {
    std::byte beyond{};
    const bool full = made == bytes_max;
    if (!full && made == out.size()) out.resize(std::min(bytes_max, out.size() * 2));
    const Step did = step(in, full ? std::span(&beyond, 1) : std::span(out).subspan(made));
    if (did.error != nullptr) return damaged(codec, did.error);
    if (full && did.made > 0) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("records compressed by {} become more than {} bytes",
                              codec_name(codec), bytes_max));
    }
    in = in.subspan(did.taken);
    made += did.made;
    // A step that does nothing changes no state either.
    if (did.taken > 0 || did.made > 0) frame_ended = did.frame_ended;
    if (in.empty() && frame_ended) break;
    if (did.taken == 0 && did.made == 0) return damaged(codec, "they end too early");
  }
  out.resize(made);
  return {};
}

Result<> decompress_lz4(std::span<const std::byte> in, std::size_t bytes_max,
                        std::vector<std::byte>& out) {
  LZ4F_dctx* context = lz4_decompressor();
  LZ4F_resetDecompressionContext(context);
  return decompress_stream(Codec::kLz4, in, bytes_max, out,
                           [context](std::span<const std::byte> from, std::span<std::byte> to) {
                             Step did{.taken = from.size(), .made = to.size()};
                             const std::size_t left = LZ4F_decompress(
                                 context, to.data(), &did.made, from.data(), &did.taken, nullptr);
                             if (LZ4F_isError(left)) did.error = LZ4F_getErrorName(left);
                             did.frame_ended = left == 0;
                             return did;
                           });
}

Result<> decompress_zstd(std::span<const std::byte> in, std::size_t bytes_max,
                         std::vector<std::byte>& out) {
  ZSTD_DCtx* context = zstd_decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kZstdWindowBits);
  return decompress_stream(
      Codec::kZstd, in, bytes_max, out,
      [context](std::span<const std::byte> from, std::span<std::byte> to) {
        ZSTD_inBuffer input{from.data(), from.size(), 0};
        ZSTD_outBuffer output{to.data(), to.size(), 0};
        const std::size_t left = ZSTD_decompressStream(context, &output, &input);
        return Step{.taken = input.pos,
                    .made = output.pos,
                    .frame_ended = left == 0,
                    .error = ZSTD_isError(left) ? ZSTD_getErrorName(left) : nullptr};
      });
}

}  // namespace

std::string_view codec_name(Codec codec) {
  switch (codec) {
    case Codec::kNone:
      return "none";
    case Codec::kGzip:
      return "gzip";
    case Codec::kSnappy:
      return "snappy";
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
  }
  return "an unknown codec";
}

std::optional<Codec> parse_codec(std::string_view name) {
  const auto at = std::ranges::find(kSupported, name, codec_name);
  if (at == kSupported.end()) return std::nullopt;
  return *at;
}

std::span<const Codec> supported_codecs() { return kSupported; }

bool codec_supported(Codec codec) {
  return std::ranges::find(kSupported, codec) != kSupported.end();
}

Result<> compress(Codec codec, std::span<const std::byte> in, std::vector<std::byte>& out) {
  switch (codec) {
    case Codec::kNone:
      out.assign(in.begin(), in.end());
      return {};
    case Codec::kLz4:
      compress_lz4(in, out);
      return {};
    case Codec::kZstd:
      compress_zstd(in, out);
      return {};
    case Codec::kGzip:
    case Codec::kSnappy:
      break;
  }
  return unsupported(codec);
}

Result<> decompress(Codec codec, std::span<const std::byte> in, std::size_t bytes_max,
                    std::vector<std::byte>& out) {
  switch (codec) {
    case Codec::kNone:
      if (in.size() > bytes_max) {
        return fail(ErrorCode::kTooLarge,
                    fmt::format("{} bytes of records are above the limit of {} bytes", in.size(),
                                bytes_max));
      }
      out.assign(in.begin(), in.end());
      return {};
    case Codec::kLz4:
      return decompress_lz4(in, bytes_max, out);
    case Codec::kZstd:
      return decompress_zstd(in, bytes_max, out);
    case Codec::kGzip:
    case Codec::kSnappy:
      break;
  }
  return unsupported(codec);
}

}  // namespace tidelog::wire
