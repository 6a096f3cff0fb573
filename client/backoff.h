// How long to wait before trying again: doubling between two bounds, with jitter, so that many
// clients of a broker that comes back do not arrive together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/random.h"

namespace tidelog::client_core {

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
