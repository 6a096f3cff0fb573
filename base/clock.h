// The seam for time. Nothing in log/, replication/, broker/ or client/ asks the system's clock
// itself.
#pragma once

#include <chrono>
#include <cstdint>

namespace tidelog {

// A point on a clock that never goes back; comparable only with points of the same Clock.
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::microseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  // For deadlines and intervals. Thread: any.
  virtual SteadyTime now() const = 0;
  // Microseconds since 1970-01-01 UTC; may jump. For append times and what people read. Thread:
  // any.
  virtual std::int64_t wall_us() const = 0;
};

// The machine's clocks; lives for ever.
const Clock& system_clock();

}  // namespace tidelog
