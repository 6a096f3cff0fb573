// The seam for control flow: where callbacks run. A shard implements it with Asio, the client with
// its own thread, a simulation with a queue. log/, replication/ and the client's core know only
// this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/clock.h"

namespace tidelog {

// Work to run once. Never throws.
using Task = std::move_only_function<void()>;

// Names a timer; 0 names none.
using TimerId = std::uint64_t;

// Runs tasks one after another, in the order posted. All callbacks of objects that belong to an
// executor run on it, never inside the call that started the operation.
class Executor {
 public:
  virtual ~Executor() = default;

  // Runs `task` later on this executor. Thread: any.
  virtual void post(Task task) = 0;

  // Runs `task` after `delay`, unless cancelled. Thread: the executor's own.
  virtual TimerId run_after(std::chrono::microseconds delay, Task task) = 0;

  // Forgets a timer; one that ran already or was cancelled is ignored. Thread: the executor's own.
  virtual void cancel(TimerId timer) = 0;

  virtual const Clock& clock() const = 0;
};

// Runs calls that may block (open, fsync, unlink, getaddrinfo) away from a shard.
class BlockingExecutor {
 public:
  virtual ~BlockingExecutor() = default;

  // Runs `job` where it may block, then posts `done` to `home`. Jobs given by one thread start in
  // the order given; with a pool of one thread they also end in it. Thread: any.
  virtual void run(Task job, Executor& home, Task done) = 0;
};

}  // namespace tidelog
