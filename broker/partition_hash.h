// A hash for tables keyed by partitions that a client names: the ids are the client's own bytes,
// and with a hash that it can compute it could make them all meet in one bucket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <unordered_map>
#include <unordered_set>

#include "base/ids.h"

namespace tidelog::broker {

// Differs from process to process: never stored, never used to place partitions. Thread: any.
struct PartitionHash {
  std::size_t operator()(const TopicPartition& id) const noexcept {
    std::uint64_t words[2];
    static_assert(sizeof words == sizeof id.topic.bytes);
    std::memcpy(words, id.topic.bytes.data(), sizeof words);
    std::uint64_t hash = mixed(words[0] ^ seed());
    hash = mixed(hash ^ words[1]);
    return mixed(hash ^ static_cast<std::uint32_t>(id.partition.value()));
  }

 private:
  static std::uint64_t seed() {
    static const std::uint64_t seed = [] {
      std::random_device random;
      return (std::uint64_t{random()} << 32) | random();
    }();
    return seed;
  }
  // Every bit of the result depends on every bit of `word`; one to one.
  static std::uint64_t mixed(std::uint64_t word) {
    word = (word ^ (word >> 32)) * 0xD6E8FEB86659FD93ULL;
    word = (word ^ (word >> 32)) * 0xD6E8FEB86659FD93ULL;
    return word ^ (word >> 32);
  }
};

template <typename Value>
using PartitionMap = std::unordered_map<TopicPartition, Value, PartitionHash>;
using PartitionSet = std::unordered_set<TopicPartition, PartitionHash>;

}  // namespace tidelog::broker
