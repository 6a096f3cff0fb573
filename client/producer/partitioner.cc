#include "client/producer/partitioner.h"

#include "base/bytes.h"
#include "tidelog/producer.h"

namespace tidelog::client_core {

std::uint32_t murmur2(std::string_view key) {
  constexpr std::uint32_t kSeed = 0x9747b28c;
  constexpr std::uint32_t kMultiplier = 0x5bd1e995;
  constexpr int kShift = 24;
  const std::byte* at = as_bytes(key).data();
  std::size_t left = key.size();
  std::uint32_t hash = kSeed ^ static_cast<std::uint32_t>(key.size());
  for (; left >= 4; at += 4, left -= 4) {
    auto word = load_le<std::uint32_t>(at);
    word *= kMultiplier;
    word ^= word >> kShift;
    word *= kMultiplier;
    hash = (hash * kMultiplier) ^ word;
  }
  if (left > 0) {
    for (std::size_t byte = 0; byte < left; ++byte) {
      hash ^= std::to_integer<std::uint32_t>(at[byte]) << (8 * byte);
    }
    hash *= kMultiplier;
  }
  hash ^= hash >> 13;
  hash *= kMultiplier;
  hash ^= hash >> 15;
  return hash;
}

std::int32_t partition_of_key(std::string_view key, std::int32_t partitions) {
  return static_cast<std::int32_t>((murmur2(key) & 0x7FFFFFFF) %
                                   static_cast<std::uint32_t>(partitions));
}

}  // namespace tidelog::client_core

namespace tidelog::client {

std::int32_t partition_for_key(std::string_view key, std::int32_t partitions) {
  return client_core::partition_of_key(key, partitions);
}

}  // namespace tidelog::client
