// The settings that a request names, of a topic or of the broker. Included by handlers only: it
// shows FlatBuffers.
#pragma once

#include <flatbuffers/flatbuffers.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "base/result.h"

namespace tidelog::broker {

inline constexpr std::size_t kSettingsPerRequestMax = 100;
inline constexpr std::size_t kSettingBytesMax = 1024;

inline std::string text(const flatbuffers::String* from) {
  return from != nullptr ? from->str() : std::string();
}

// To be asked before anything of `settings` is copied: a table of some megabytes can name the same
// megabytes hundreds of thousands of times. Fails with kTooLarge: more settings than
// kSettingsPerRequestMax; kInvalidSetting: a name or a value longer than kSettingBytesMax.
template <typename Setting>
Result<> check_named(const flatbuffers::Vector<flatbuffers::Offset<Setting>>* settings) {
  if (settings == nullptr) return {};
  if (settings->size() > kSettingsPerRequestMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("a request names at most {} settings, not {}",
                                                  kSettingsPerRequestMax, settings->size()));
  }
  const auto bytes = [](const flatbuffers::String* string) {
    return string != nullptr ? std::size_t{string->size()} : 0;
  };
  for (const Setting* setting : *settings) {
    const std::size_t longest = std::max(bytes(setting->name()), bytes(setting->value()));
    if (longest <= kSettingBytesMax) continue;
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("the name and the value of a setting have at most {} bytes, not {}",
                            kSettingBytesMax, longest));
  }
  return {};
}

}  // namespace tidelog::broker
