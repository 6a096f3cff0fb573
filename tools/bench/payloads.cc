#include "tools/bench/payloads.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace tidelog::tools {
namespace {
constexpr std::size_t kTogetherMax = 16 << 20;
}

Payloads::Payloads(std::size_t bytes)
    : values_(std::clamp<std::size_t>(kTogetherMax / std::max<std::size_t>(bytes, 1), 1, 64)) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::minstd_rand random(1);
  for (std::string& value : values_) {
    value.resize(bytes);
    for (char& letter : value) letter = kLetters[(random() >> 8U) % kLetters.size()];
  }
}

std::string Payloads::stamped(Stamp stamp) const {
  std::string bytes = value(stamp.record);
  std::memcpy(bytes.data(), &stamp, kStampBytes);
  return bytes;
}

std::optional<Payloads::Stamp> Payloads::stamp_of(std::string_view value) {
  if (value.size() < kStampBytes) return std::nullopt;
  Stamp stamp;
  std::memcpy(&stamp, value.data(), kStampBytes);
  return stamp;
}

}  // namespace tidelog::tools
