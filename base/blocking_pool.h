// A small thread pool for calls that may block; the production BlockingExecutor.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/executor.h"

namespace tidelog {

class BlockingPool final : public BlockingExecutor {
 public:
  // Starts `threads` threads whose names begin with `name`.
  BlockingPool(const std::string& name, int threads);
  // Runs what was given, then ends the threads.
  ~BlockingPool() override;

  void run(Task job, Executor& home, Task done) override;

  // Jobs that no thread has begun yet. Thread: any.
  std::size_t waiting() const;

 private:
  struct Item {
    Task job;
    Executor* home;
    Task done;
  };
  void work();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> items_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// In debug builds, marks the calling thread as one that must never block (a shard).
void mark_nonblocking_thread();
// In debug builds, CHECKs that the calling thread may block. `what` names the call.
void check_may_block(const char* what);

}  // namespace tidelog
