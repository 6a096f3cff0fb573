#include "log/io/probe_loop.h"

#include <poll.h>
#include <unistd.h>

#include <cstdint>

#include "base/check.h"

namespace tidelog::log::io {

TimerId ProbeLoop::run_after(std::chrono::microseconds, Task task) {
  post(std::move(task));
  return 0;
}

void ProbeLoop::cancel(TimerId) {}

EventWatcher ProbeLoop::watcher() {
  return {.watch =
              [this](int fd, std::move_only_function<void()> readable) {
                TIDELOG_CHECK(fd_ < 0, "the probe's loop watches one eventfd");
                fd_ = fd;
                readable_ = std::move(readable);
              },
          .unwatch =
              [this](int) {
                fd_ = -1;
                readable_ = nullptr;
              }};
}

bool ProbeLoop::run_until(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const SteadyTime deadline = clock().now() + limit;
  while (!condition()) {
    if (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
      continue;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock().now());
    if (left.count() <= 0) return false;
    pollfd event{.fd = fd_, .events = POLLIN, .revents = 0};
    if (::poll(&event, 1, static_cast<int>(left.count())) <= 0) continue;
    std::uint64_t count = 0;
    if (::read(fd_, &count, sizeof count) == sizeof count) readable_();
  }
  return true;
}

}  // namespace tidelog::log::io
