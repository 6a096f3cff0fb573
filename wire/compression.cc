#include "wire/compression.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "wire/codecs.h"

namespace tidelog::wire {
namespace {

struct CodecInfo {
  Codec codec;
  std::string_view name;  // as on a command line and in PROTOCOL.md
  CodecLevels levels;
};

constexpr std::array kCodecs = {
    CodecInfo{Codec::kNone, "none", {}},
    CodecInfo{Codec::kGzip, "gzip", {.min = 1, .max = 9, .standard = 6}},
    CodecInfo{Codec::kSnappy, "snappy", {}},
    CodecInfo{Codec::kLz4, "lz4", {.min = 1, .max = 12, .standard = 1}},
    // Above 19 a window may be larger than a reader takes.
    CodecInfo{Codec::kZstd, "zstd", {.min = 1, .max = 19, .standard = 3}},
};
constexpr auto kSupported = [] {
  std::array<Codec, kCodecs.size()> codecs{};
  std::ranges::transform(kCodecs, codecs.begin(), &CodecInfo::codec);
  return codecs;
}();

const CodecInfo* info_of(Codec codec) {
  const auto at = std::ranges::find(kCodecs, codec, &CodecInfo::codec);
  return at == kCodecs.end() ? nullptr : at;
}

std::unexpected<Error> unsupported(Codec codec) {
  return fail(ErrorCode::kUnsupportedCodec,
              fmt::format("codec {} does not exist", static_cast<int>(codec)));
}

}  // namespace

namespace codecs {

std::unexpected<Error> damaged(Codec codec, std::string_view cause) {
  return fail(ErrorCode::kInvalidBatch,
              fmt::format("records compressed by {} are damaged: {}", codec_name(codec), cause));
}

std::unexpected<Error> too_large(Codec codec, std::size_t bytes_max) {
  return fail(ErrorCode::kTooLarge,
              fmt::format("records compressed by {} become more than {} bytes", codec_name(codec),
                          bytes_max));
}

}  // namespace codecs

std::string_view codec_name(Codec codec) {
  const CodecInfo* info = info_of(codec);
  return info != nullptr ? info->name : "an unknown codec";
}

std::optional<Codec> parse_codec(std::string_view name) {
  const auto at = std::ranges::find(kCodecs, name, &CodecInfo::name);
  if (at == kCodecs.end()) return std::nullopt;
  return at->codec;
}

std::span<const Codec> supported_codecs() { return kSupported; }

bool codec_supported(Codec codec) { return info_of(codec) != nullptr; }

CodecLevels codec_levels(Codec codec) {
  const CodecInfo* info = info_of(codec);
  return info != nullptr ? info->levels : CodecLevels{};
}

Result<> check_compression(const Compression& compression) {
  const CodecInfo* info = info_of(compression.codec);
  if (info == nullptr) return unsupported(compression.codec);
  const CodecLevels& levels = info->levels;
  const bool standard = compression.level == 0;
  if (standard || (compression.level >= levels.min && compression.level <= levels.max)) return {};
  if (levels.max == 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("compression {} has no levels", info->name));
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("compression {} has levels {} to {}, not {}", info->name, levels.min,
                          levels.max, compression.level));
}

Result<> compress(const Compression& how, std::span<const std::byte> in,
                  std::vector<std::byte>& out) {
  TIDELOG_TRY(check_compression(how));
  const int level = how.level != 0 ? how.level : codec_levels(how.codec).standard;
  switch (how.codec) {
    case Codec::kNone:
      out.assign(in.begin(), in.end());
      break;
    case Codec::kGzip:
      codecs::compress_gzip(in, level, out);
      break;
    case Codec::kSnappy:
      codecs::compress_snappy(in, out);
      break;
    case Codec::kLz4:
      codecs::compress_lz4(in, level, out);
      break;
    case Codec::kZstd:
      codecs::compress_zstd(in, level, out);
      break;
  }
  return {};
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
    case Codec::kGzip:
      return codecs::decompress_gzip(in, bytes_max, out);
    case Codec::kSnappy:
      return codecs::decompress_snappy(in, bytes_max, out);
    case Codec::kLz4:
      return codecs::decompress_lz4(in, bytes_max, out);
    case Codec::kZstd:
      return codecs::decompress_zstd(in, bytes_max, out);
  }
  return unsupported(codec);
}

}  // namespace tidelog::wire
