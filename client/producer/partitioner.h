// Which partition a key belongs to.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidelog::client_core {

// MurmurHash2, 32 bits, little-endian, with the seed of Apache Kafka's default partitioner.
std::uint32_t murmur2(std::string_view key);

// murmur2 without its sign bit, modulo `partitions`. REQUIRES: partitions > 0.
std::int32_t partition_of_key(std::string_view key, std::int32_t partitions);

}  // namespace tidelog::client_core
