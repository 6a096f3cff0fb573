// Bounds how many lines of one kind get into the log: what strangers cause must not fill it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace tidelog::broker {

class LineLimiter {
 public:
  // At most `lines_max` lines in each `period`.
  LineLimiter(std::uint64_t lines_max, std::chrono::milliseconds period)
      : lines_max_(lines_max), period_(period) {}

  // How many lines were left out since the last one that was written; nullopt: leave this one out,
  // too.
  std::optional<std::uint64_t> admit(SteadyTime now) {
    if (!period_begin_ || now - *period_begin_ >= period_) {
      period_begin_ = now;
      lines_ = 0;
    }
    if (lines_ == lines_max_) {
      ++left_out_;
      return std::nullopt;
    }
    ++lines_;
    return std::exchange(left_out_, 0);
  }

 private:
  const std::uint64_t lines_max_;
  const std::chrono::milliseconds period_;
  std::optional<SteadyTime> period_begin_;
  std::uint64_t lines_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace tidelog::broker
