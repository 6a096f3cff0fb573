#include "broker/throttle.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tidelog::broker {

void Throttle::hold_for(std::chrono::microseconds wait, Task over) {
  end();
  until_ = executor_.clock().now() + wait;
  timer_ = executor_.run_after(wait, [this, over = std::move(over)]() mutable {
    timer_ = 0;
    over();  // may destroy this
  });
}

std::uint32_t Throttle::ms_left() const {
  if (!holds()) return 0;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(until_ - executor_.clock().now()).count();
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(left, 0, std::numeric_limits<std::int32_t>::max()));
}

void Throttle::end() {
  if (timer_ != 0) executor_.cancel(std::exchange(timer_, 0));
}

}  // namespace tidelog::broker
