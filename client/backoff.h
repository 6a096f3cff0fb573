// How long to wait before trying again: doubling between two bounds, with jitter, so that many
// clients of a broker that comes back do not arrive together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tidelog::client_core {

// A small seeded generator (SplitMix64): the same seed gives the same waits and sticky partitions.
class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  // 0 to bound - 1. REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

class Backoff {
 public:
  Backoff(std::chrono::milliseconds min, std::chrono::milliseconds max, std::uint64_t seed)
      : min_(std::max(min, std::chrono::milliseconds(1))),
        max_(std::max(max, min_)),
        wait_(min_),
        random_(seed) {}

  // The next wait: between half and all of the current bound, which then doubles.
  std::chrono::microseconds next() {
    const auto whole = std::chrono::microseconds(wait_);
    wait_ = std::min(wait_ * 2, max_);
    const auto half = static_cast<std::uint64_t>(whole.count() / 2);
    return std::chrono::microseconds(half + random_.below(half + 1));
  }
  // After a success.
  void reset() { wait_ = min_; }

 private:
  std::chrono::milliseconds min_;
  std::chrono::milliseconds max_;
  std::chrono::milliseconds wait_;
  SeededRandom random_;
};

}  // namespace tidelog::client_core
