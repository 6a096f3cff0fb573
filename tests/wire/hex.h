// Bytes as hex digits, for golden constants.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tidelog::wire {

// Reads pairs of hex digits; white space is skipped.
inline std::vector<std::byte> bytes_of_hex(std::string_view hex) {
  std::vector<std::byte> bytes;
  std::string pair;
  for (const char c : hex) {
    if (std::isspace(static_cast<unsigned char>(c)) != 0) continue;
    pair.push_back(c);
    if (pair.size() == 2) {
      bytes.push_back(static_cast<std::byte>(std::stoul(pair, nullptr, 16)));
      pair.clear();
    }
  }
  return bytes;
}

inline std::string hex_of_bytes(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const std::byte byte : bytes) {
    hex.push_back(kDigits[std::to_integer<unsigned>(byte) >> 4]);
    hex.push_back(kDigits[std::to_integer<unsigned>(byte) & 15]);
  }
  return hex;
}

}  // namespace tidelog::wire
