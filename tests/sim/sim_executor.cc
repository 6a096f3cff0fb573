#include "tests/sim/sim_executor.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace tidelog::sim {

void SimExecutor::post(Task task) { ready_.push_back(std::move(task)); }

SimExecutor::EventKey SimExecutor::add_event(std::chrono::microseconds delay, Task task,
                                             bool outside) {
  const std::int64_t delay_us = std::max<std::int64_t>(delay.count(), 0);
  const EventKey key{clock_.now_us_ + delay_us, next_order_++};
  if (outside) ++outside_events_;
  events_.emplace(key, Event{std::move(task), outside});
  return key;
}

TimerId SimExecutor::run_after(std::chrono::microseconds delay, Task task) {
  const TimerId id = next_order_;
  timers_.emplace(id, add_event(delay, std::move(task), false));
  return id;
}

void SimExecutor::cancel(TimerId timer) {
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return;
  const EventKey key = found->second;
  timers_.erase(found);
  // The task dies last: destroying it may reach back into this executor.
  auto node = events_.extract(key);
}

void SimExecutor::run(Task job, Executor& home, Task done) {
  const std::int64_t duration_us = static_cast<std::int64_t>(random_.between(5, 100));
  blocking_free_at_us_ = std::max(blocking_free_at_us_, clock_.now_us_) + duration_us;
  happen_after(std::chrono::microseconds(blocking_free_at_us_ - clock_.now_us_),
               [job = std::move(job), &home, done = std::move(done)]() mutable {
                 job();
                 job = nullptr;
                 home.post(std::move(done));
               });
}

void SimExecutor::happen_after(std::chrono::microseconds delay, Task event) {
  add_event(delay, std::move(event), true);
}

void SimExecutor::end_turn() {
  for (std::size_t i = 0; i < hooks_.size(); ++i) hooks_[i]();
  left_in_turn_ = ready_.size();
}

void SimExecutor::run_ready() {
  ++steps_;
  TIDELOG_CHECK(steps_ < 200'000'000, "the simulation never comes to rest");
  if (left_in_turn_ == 0) left_in_turn_ = ready_.size();
  Task task = std::move(ready_.front());
  ready_.pop_front();
  task();
  task = nullptr;
  if (--left_in_turn_ == 0) end_turn();
}

bool SimExecutor::advance(std::int64_t limit_us) {
  if (events_.empty() || events_.begin()->first.first > limit_us) return false;
  auto node = events_.extract(events_.begin());
  clock_.now_us_ = std::max(clock_.now_us_, node.key().first);
  if (node.mapped().outside) {
    --outside_events_;
  } else {
    timers_.erase(node.key().second);
  }
  ready_.push_back(std::move(node.mapped().task));
  return true;
}

bool SimExecutor::step() {
  if (ready_.empty() && !advance(std::numeric_limits<std::int64_t>::max())) return false;
  run_ready();
  return true;
}

void SimExecutor::run_until_idle() {
  end_turn();
  while (!ready_.empty() || outside_events_ > 0) step();
}

void SimExecutor::run_for(std::chrono::microseconds duration) {
  const std::int64_t until_us = clock_.now_us_ + duration.count();
  end_turn();
  while (!ready_.empty() || advance(until_us)) run_ready();
  clock_.now_us_ = until_us;
}

bool SimExecutor::run_until(const std::function<bool()>& condition,
                            std::chrono::microseconds limit) {
  const std::int64_t until_us = clock_.now_us_ + limit.count();
  end_turn();
  while (!condition()) {
    if (ready_.empty() && !advance(until_us)) {
      clock_.now_us_ = until_us;
      return false;
    }
    run_ready();
  }
  return true;
}

}  // namespace tidelog::sim
