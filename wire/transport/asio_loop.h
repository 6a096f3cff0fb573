// Inside wire/transport/ only: the state of an AsioExecutor that its connections work with.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "wire/transport/asio_transport.h"

namespace tidelog::wire {

// Something with bytes to write at the end of the turn.
class Flushable {
 public:
  virtual ~Flushable() = default;
  virtual void flush() = 0;
};

struct AsioExecutor::Loop {
  // One thread runs it; others only post. (Concurrency hint 1 keeps Asio's locks.)
  asio::io_context io{1};

  void run_turns();
  void post(Task task);
  TimerId run_after(std::chrono::microseconds delay, Task task);
  void cancel(TimerId timer);
  // `stream` is flushed once, at the end of this turn, and kept alive until then. Thread: the
  // loop's.
  void flush_at_turn_end(std::shared_ptr<Flushable> stream) {
    to_flush.push_back(std::move(stream));
  }
  void wake();
  void drop_all();

  struct Watch {
    explicit Watch(asio::io_context& io) : descriptor(io) {}
    asio::posix::stream_descriptor descriptor;
    std::move_only_function<void()> readable;
    std::uint64_t count = 0;
    bool ended = false;
  };
  void wait_readable(std::shared_ptr<Watch> watch);
  std::map<int, std::shared_ptr<Watch>> watches;

  std::move_only_function<void()> turn_hook;
  // Notes when the turn began. Asio waits and runs the first handler in one call, so each kind of
  // handler says that it runs.
  void begin_turn() {
    if (!std::exchange(turn_has_begun, true)) turn_began_at = system_clock().now();
  }
  SteadyTime turn_began_at;
  bool turn_has_begun = false;
  std::atomic<bool> stopping{false};
  std::atomic<std::thread::id> runner{};

 private:
  void run_tasks(std::vector<Task>& from);
  void flush_streams();
  void arm(SteadyTime at);
  void fire_timers();

  // Posted on the loop's own thread: no lock, no allocation of Asio's.
  std::vector<Task> local;
  std::vector<Task> running;
  // Posted by other threads; the first post of a turn wakes the loop.
  std::mutex inbox_mutex;
  std::vector<Task> inbox;
  bool inbox_signalled = false;

  std::vector<std::shared_ptr<Flushable>> to_flush;
  std::vector<std::shared_ptr<Flushable>> flushing;

  // All timers share one of Asio's, armed for the earliest; a cancelled one does not arm it anew.
  std::map<std::pair<SteadyTime, TimerId>, Task> timers;
  std::unordered_map<TimerId, SteadyTime> timer_times;
  TimerId last_timer = 0;
  asio::steady_timer alarm{io};
  SteadyTime armed_for = SteadyTime::max();
  std::uint64_t alarm_generation = 0;
};

}  // namespace tidelog::wire
