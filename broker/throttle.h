// Holds up one direction of a connection while its client is above its quota.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "base/executor.h"

namespace tidelog::broker {

// Thread: its executor's.
class Throttle {
 public:
  // `executor` outlives this.
  explicit Throttle(Executor& executor) : executor_(executor) {}
  ~Throttle() { end(); }
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;

  // Holds from now on for `wait`, whatever it held for before; `over` runs when that has passed,
  // unless end() came before. REQUIRES: wait > 0.
  void hold_for(std::chrono::microseconds wait, Task over);
  bool holds() const { return timer_ != 0; }
  // How long it goes on to hold, ms, rounded up; 0 when it does not.
  std::uint32_t ms_left() const;
  void end();

 private:
  Executor& executor_;
  TimerId timer_ = 0;
  SteadyTime until_;
};

}  // namespace tidelog::broker
