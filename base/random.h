// Randomness that nobody can guess, for identities (topic, file, cluster, directory ids), and
// randomness that a seed replays.
// State machines never call these: they are handed their random numbers or a seed of them, so that
// a seed replays them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidelog {

// Fills `out` from the kernel's generator. Thread: any.
void random_bytes(std::span<std::byte> out);

// A random number, never 0 (0 stands for "none" in every file format). Thread: any.
std::uint64_t random_id();

// Numbers that a seed determines for ever (SplitMix64): for jitter, sampling and simulations.
// Thread: one at a time.
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

}  // namespace tidelog
