// Durations that users give, made fit for arithmetic and for the wire.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tidelog::client_core {

// "For ever" (milliseconds::max()) as long as this, so that adding it to a time does not overflow;
// negative as zero.
constexpr std::chrono::milliseconds bounded(std::chrono::milliseconds duration) {
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
  return std::clamp(duration, std::chrono::milliseconds(0), kLongest);
}

// How much longer than its deadline close() waits for the library's thread, when that is in a
// callback: one that is short, as it must be, has then ended, and all is settled on return.
inline constexpr std::chrono::seconds kCallbackPatience{1};

// The deadline that a request tells the broker, in ms: shorter than the client itself waits, so
// that an answer about what was late still arrives. Giving up first would close the connection and
// leave the outcome of everything on it unknown. At least 1.
constexpr std::uint32_t broker_deadline_ms(std::chrono::milliseconds request_timeout) {
  constexpr std::chrono::milliseconds kMarginMax = std::chrono::seconds(5);
  const auto whole = bounded(request_timeout);
  const auto deadline = whole - std::min(whole / 4, kMarginMax);
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(deadline.count(), 1, UINT32_MAX));
}

}  // namespace tidelog::client_core
