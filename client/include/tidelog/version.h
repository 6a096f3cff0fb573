// The version of the library, as its package and its hello name it.
#pragma once

#include <string_view>

namespace tidelog::client {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace tidelog::client
