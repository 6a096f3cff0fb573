// The checksum of every format: XXH3-64 (https://github.com/Cyan4973/xxHash, specification v0.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidelog {

std::uint64_t xxh3_64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
// XXH3-64 of `first` followed by `second`, without allocation.
std::uint64_t xxh3_64_of_two(std::span<const std::byte> first, std::span<const std::byte> second,
                             std::uint64_t seed = 0);

}  // namespace tidelog
