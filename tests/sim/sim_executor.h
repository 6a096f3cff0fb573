// Virtual time and one queue of work: the Executor, BlockingExecutor and Clock of a simulation.
//
// One thread runs everything. The same calls in the same order give the same run: tasks run in the
// order posted, events by their virtual time, then by the order in which they were made. Virtual
// time moves only when no task is ready.
//
// A turn is what was ready when it began; behind each turn the hooks of at_end_of_turn() run, as a
// shard's loop does with ShardLogs::end_of_turn(). Each run_...() call begins with an end of turn,
// so that what a test called directly is submitted too.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "tests/sim/sim_random.h"

namespace tidelog::sim {

class SimClock final : public Clock {
 public:
  SteadyTime now() const override { return SteadyTime(std::chrono::microseconds(now_us_)); }
  std::int64_t wall_us() const override { return wall_base_us_ + now_us_; }

  // Moves the wall clock only, as an operator or NTP would.
  void jump_wall(std::chrono::microseconds by) { wall_base_us_ += by.count(); }

 private:
  friend class SimExecutor;
  std::int64_t now_us_ = 0;
  std::int64_t wall_base_us_ = 1'767'225'600'000'000;  // 2026-01-01 UTC
};

class SimExecutor final : public Executor, public BlockingExecutor {
 public:
  // The seed decides how long blocking jobs take.
  explicit SimExecutor(std::uint64_t seed = 1) : random_(seed) {}

  void post(Task task) override;
  TimerId run_after(std::chrono::microseconds delay, Task task) override;
  void cancel(TimerId timer) override;
  const Clock& clock() const override { return clock_; }
  SimClock& sim_clock() { return clock_; }

  // Jobs run one at a time, in the order given, each as a step of its own some microseconds later;
  // `done` is posted then.
  void run(Task job, Executor& home, Task done) override;

  // Something outside happens after `delay`: the disk completes, a message arrives. Unlike a timer
  // it keeps run_until_idle() going.
  void happen_after(std::chrono::microseconds delay, Task event);

  // Runs behind every turn. Kept until clear_end_of_turn_hooks().
  void at_end_of_turn(std::function<void()> hook) { hooks_.push_back(std::move(hook)); }
  void clear_end_of_turn_hooks() { hooks_.clear(); }

  // Runs one task, or else moves time to the next event or timer and makes that ready. False:
  // nothing is left at all.
  bool step();
  // Runs until no task is ready and nothing outside is under way. Timers that fall due meanwhile
  // run; others stay.
  void run_until_idle();
  // Runs everything due within `duration`; the clock ends exactly there.
  void run_for(std::chrono::microseconds duration);
  // Steps until `condition` holds; false when `limit` of virtual time passed first.
  bool run_until(const std::function<bool()>& condition,
                 std::chrono::microseconds limit = std::chrono::seconds(60));

  std::uint64_t steps() const { return steps_; }

 private:
  struct Event {
    Task task;
    bool outside;
  };
  using EventKey = std::pair<std::int64_t, std::uint64_t>;  // virtual time, order of making

  EventKey add_event(std::chrono::microseconds delay, Task task, bool outside);
  void end_turn();
  void run_ready();
  // Makes the next event ready if it is due at or before `limit_us`.
  bool advance(std::int64_t limit_us);

  SimClock clock_;
  SimRandom random_;
  std::deque<Task> ready_;
  std::size_t left_in_turn_ = 0;
  std::map<EventKey, Event> events_;
  std::map<TimerId, EventKey> timers_;
  std::size_t outside_events_ = 0;
  std::uint64_t next_order_ = 1;
  std::int64_t blocking_free_at_us_ = 0;
  std::vector<std::function<void()>> hooks_;
  std::uint64_t steps_ = 0;
};

}  // namespace tidelog::sim
