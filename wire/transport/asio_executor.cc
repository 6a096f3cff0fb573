#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include "base/check.h"
#include "wire/transport/asio_loop.h"

namespace tidelog::wire {
namespace {

// Handlers a turn runs at most before sockets are flushed and disk I/O is submitted.
constexpr int kHandlersPerTurnMax = 256;

}  // namespace

void AsioExecutor::Loop::run_turns() {
  TIDELOG_CHECK(runner.exchange(std::this_thread::get_id()) == std::thread::id(),
                "only one thread may run an executor");
  const auto work = asio::make_work_guard(io);
  io.restart();
  while (!stopping.exchange(false)) {
    turn_has_begun = false;
    if (local.empty() && to_flush.empty()) io.run_one();
    begin_turn();
    for (int i = 0; i < kHandlersPerTurnMax && io.poll_one() > 0; ++i) {
    }
    {
      const std::lock_guard lock(inbox_mutex);
      running.swap(inbox);
      inbox_signalled = false;
    }
    run_tasks(running);
    running.swap(local);
    run_tasks(running);
    flush_streams();
    if (turn_hook) turn_hook();
  }
  runner.store(std::thread::id());
}

void AsioExecutor::Loop::run_tasks(std::vector<Task>& from) {
  for (Task& task : from) {
    task();
    task = nullptr;  // what it holds goes before the next task runs
  }
  from.clear();
}

void AsioExecutor::Loop::flush_streams() {
  flushing.swap(to_flush);
  for (std::shared_ptr<Flushable>& stream : flushing) {
    stream->flush();
    stream.reset();
  }
  flushing.clear();
}

void AsioExecutor::Loop::post(Task task) {
  if (runner.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    local.push_back(std::move(task));
    return;
  }
  {
    const std::lock_guard lock(inbox_mutex);
    inbox.push_back(std::move(task));
    if (std::exchange(inbox_signalled, true)) return;
  }
  wake();
}

void AsioExecutor::Loop::wake() {
  asio::post(io, [] {});
}

TimerId AsioExecutor::Loop::run_after(std::chrono::microseconds delay, Task task) {
  const SteadyTime at = system_clock().now() + delay;
  const TimerId id = ++last_timer;
  timers.emplace(std::pair(at, id), std::move(task));
  timer_times.emplace(id, at);
  if (at < armed_for) arm(at);
  return id;
}

void AsioExecutor::Loop::cancel(TimerId timer) {
  const auto time = timer_times.find(timer);
  if (time == timer_times.end()) return;
  // Taken out before it is destroyed: what it holds may cancel timers, too.
  const auto task = timers.extract(std::pair(time->second, timer));
  timer_times.erase(time);
}

void AsioExecutor::Loop::arm(SteadyTime at) {
  armed_for = at;
  alarm.expires_at(at);
  alarm.async_wait([this, generation = ++alarm_generation](const asio::error_code&) {
    begin_turn();
    if (generation == alarm_generation) fire_timers();
  });
}

void AsioExecutor::Loop::fire_timers() {
  const SteadyTime now = system_clock().now();
  while (!timers.empty() && timers.begin()->first.first <= now) {
    auto timer = timers.extract(timers.begin());
    timer_times.erase(timer.key().second);
    timer.mapped()();
  }
  armed_for = SteadyTime::max();
  if (!timers.empty()) arm(timers.begin()->first.first);
}

void AsioExecutor::Loop::wait_readable(std::shared_ptr<Watch> watch) {
  Watch& state = *watch;
  state.descriptor.async_read_some(
      asio::buffer(&state.count, sizeof state.count),
      [this, watch = std::move(watch)](const asio::error_code& error, std::size_t) mutable {
        begin_turn();
        if (watch->ended) return;
        TIDELOG_CHECK(!error, "a watched eventfd must stay readable");
        watch->readable();
        if (!watch->ended) wait_readable(std::move(watch));
      });
}

void AsioExecutor::Loop::drop_all() {
  // Destroying one task may post another.
  while (!local.empty() || !inbox.empty() || !timers.empty() || !to_flush.empty()) {
    std::vector<Task>().swap(local);
    std::vector<Task>().swap(inbox);
    const auto dropped = std::exchange(timers, {});
    timer_times.clear();
    std::vector<std::shared_ptr<Flushable>>().swap(to_flush);
  }
}

AsioExecutor::AsioExecutor() : loop_(std::make_unique<Loop>()) {}

AsioExecutor::~AsioExecutor() {
  TIDELOG_CHECK(loop_->runner.load() == std::thread::id(),
                "an executor must have stopped before it goes");
  for (auto& [fd, watch] : loop_->watches) {
    watch->ended = true;
    watch->descriptor.release();
  }
  loop_->drop_all();
}

void AsioExecutor::run() { loop_->run_turns(); }

void AsioExecutor::stop() {
  loop_->stopping.store(true);
  loop_->wake();
}

bool AsioExecutor::on_loop_thread() const {
  return loop_->runner.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void AsioExecutor::post(Task task) { loop_->post(std::move(task)); }

TimerId AsioExecutor::run_after(std::chrono::microseconds delay, Task task) {
  return loop_->run_after(delay, std::move(task));
}

void AsioExecutor::cancel(TimerId timer) { loop_->cancel(timer); }

void AsioExecutor::set_turn_hook(std::move_only_function<void()> hook) {
  loop_->turn_hook = std::move(hook);
}

SteadyTime AsioExecutor::turn_began_at() const { return loop_->turn_began_at; }

void AsioExecutor::watch_eventfd(int fd, std::move_only_function<void()> readable) {
  auto watch = std::make_shared<Loop::Watch>(loop_->io);
  watch->descriptor.assign(fd);
  watch->readable = std::move(readable);
  TIDELOG_CHECK(loop_->watches.emplace(fd, watch).second, "an eventfd is watched once");
  loop_->wait_readable(std::move(watch));
}

void AsioExecutor::unwatch_eventfd(int fd) {
  const auto at = loop_->watches.find(fd);
  if (at == loop_->watches.end()) return;
  at->second->ended = true;
  at->second->descriptor.release();
  loop_->watches.erase(at);
}

}  // namespace tidelog::wire
