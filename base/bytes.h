// Loads and stores of little-endian integers at any byte position (formats are packed).
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace tidelog {

static_assert(std::endian::native == std::endian::little,
              "formats are little-endian and loaded by memcpy");

// REQUIRES: `from` points to sizeof(T) readable bytes.
template <std::integral T>
T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// REQUIRES: `to` points to sizeof(T) writable bytes.
template <std::integral T>
void store_le(std::byte* to, std::type_identity_t<T> value) {
  std::memcpy(to, &value, sizeof value);
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Rounds up to a multiple of `unit`. REQUIRES: unit is a power of two.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) & ~(unit - 1);
}
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) {
  return value & ~(unit - 1);
}

}  // namespace tidelog
