// The simulation's only randomness: a seed gives the same numbers for ever.
#pragma once

#include <cstdint>

#include "base/random.h"

namespace tidelog::sim {

class SimRandom : public SeededRandom {
 public:
  using SeededRandom::SeededRandom;

  // From `low` to `high`, both included.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + below(high - low + 1);
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
};

}  // namespace tidelog::sim
