// A loop just large enough to try a ring before any shard exists.
#pragma once

#include <chrono>
#include <deque>
#include <functional>

#include "base/executor.h"
#include "log/io/event_watcher.h"

namespace tidelog::log::io {

// Thread: one. Knows one eventfd at a time; has no timers of its own: a delayed task is due at
// once.
class ProbeLoop final : public Executor {
 public:
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId run_after(std::chrono::microseconds delay, Task task) override;
  void cancel(TimerId timer) override;
  const Clock& clock() const override { return system_clock(); }

  // REQUIRES: the loop outlives the queue that watches.
  EventWatcher watcher();
  // Runs tasks and events until `condition` holds; false after `limit`.
  bool run_until(const std::function<bool()>& condition, std::chrono::milliseconds limit);

 private:
  std::deque<Task> tasks_;
  int fd_ = -1;
  std::move_only_function<void()> readable_;
};

}  // namespace tidelog::log::io
