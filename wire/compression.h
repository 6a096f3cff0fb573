// Codecs of the record section: none, gzip, snappy, lz4 (frame format) and zstd. PROTOCOL.md says
// how each is framed.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/record_batch.h"

namespace tidelog::wire {

std::string_view codec_name(Codec codec);
// nullopt for a name no codec of this version has.
std::optional<Codec> parse_codec(std::string_view name);
// Every codec that compress and decompress handle.
std::span<const Codec> supported_codecs();
bool codec_supported(Codec codec);

// Higher levels are slower and make less; a codec without levels has 0 in all three.
struct CodecLevels {
  int min = 0;
  int max = 0;
  int standard = 0;
};
CodecLevels codec_levels(Codec codec);

// How to compress; a reader needs the codec only.
struct Compression {
  // NOLINTNEXTLINE(google-explicit-constructor): a codec alone means its standard level.
  Compression(Codec which = Codec::kNone, int at_level = 0) : codec(which), level(at_level) {}

  Codec codec;
  int level;  // 0: the codec's standard level
};
// Fails with kUnsupportedCodec, kInvalidArgument (no such level).
Result<> check_compression(const Compression& compression);

// Replaces the contents of `out`. Fails as check_compression().
Result<> compress(const Compression& how, std::span<const std::byte> in,
                  std::vector<std::byte>& out);

// Replaces the contents of `out`. Never grows beyond `bytes_max`, however much the input promises
// (a bomb fails with kTooLarge). Fails with kInvalidBatch where the input is damaged,
// kUnsupportedCodec.
Result<> decompress(Codec codec, std::span<const std::byte> in, std::size_t bytes_max,
                    std::vector<std::byte>& out);

}  // namespace tidelog::wire
