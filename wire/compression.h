// Codecs of the record section: none, lz4 (frame format) and zstd. The others have numbers but are
// refused with kUnsupportedCodec.
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

// Replaces the contents of `out`. Fails with kUnsupportedCodec.
Result<> compress(Codec codec, std::span<const std::byte> in, std::vector<std::byte>& out);

// Replaces the contents of `out`. Never grows beyond `bytes_max`, however much the input promises
// (a bomb fails with kTooLarge). Fails with kInvalidBatch where the input is damaged,
// kUnsupportedCodec.
Result<> decompress(Codec codec, std::span<const std::byte> in, std::size_t bytes_max,
                    std::vector<std::byte>& out);

}  // namespace tidelog::wire
