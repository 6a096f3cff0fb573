#include "tools/producer_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "wire/compression.h"

namespace tidelog::tools {

Result<> parse_compression(const std::string& text, client::ProducerOptions& options) {
  static constexpr std::pair<std::string_view, client::Compression> kCodecs[] = {
      {"none", client::Compression::kNone},     {"gzip", client::Compression::kGzip},
      {"snappy", client::Compression::kSnappy}, {"lz4", client::Compression::kLz4},
      {"zstd", client::Compression::kZstd},
  };
  const std::string_view all = text;
  const std::string_view name = all.substr(0, all.find(':'));
  const auto* codec =
      std::ranges::find(kCodecs, name, [](const auto& known) { return known.first; });
  const std::optional<wire::Codec> on_wire = wire::parse_codec(name);
  if (codec == std::end(kCodecs) || !on_wire) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("compression '{}' does not exist; -z takes none, gzip, snappy, lz4 or zstd",
                    name));
  }
  options.compression = codec->second;
  if (name.size() == all.size()) return {};
  const std::string_view digits = all.substr(name.size() + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), options.compression_level);
  const wire::CodecLevels levels = wire::codec_levels(*on_wire);
  if (levels.max == 0)
    return fail(ErrorCode::kInvalidArgument, fmt::format("compression {} has no levels", name));
  if (error != std::errc{} || end != digits.data() + digits.size() ||
      options.compression_level < levels.min || options.compression_level > levels.max) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("compression {} has levels {} to {}, not '{}'", name, levels.min,
                            levels.max, digits));
  }
  return {};
}

Result<client::Acks> parse_acks(const std::string& name) {
  if (name == "all" || name == "-1") return client::Acks::kAll;
  if (name == "leader" || name == "1") return client::Acks::kLeader;
  if (name == "none" || name == "0") return client::Acks::kNone;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--acks '{}' does not exist; it is all, leader or none", name));
}

}  // namespace tidelog::tools
