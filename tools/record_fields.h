// One record as the formats see it, of bytes that somebody else owns.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace tidelog::tools {

struct HeaderField {
  std::string_view key;
  std::optional<std::string_view> value;
};

struct RecordFields {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = 0;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::vector<HeaderField> headers;
};

}  // namespace tidelog::tools
