// The portable IoQueue: pwritev, preadv and fdatasync on a few threads of its own. For machines and
// containers that have no io_uring to give.
//
// Thread: one for all calls, the executor's. Completions are posted from the threads in the order
// in which they end. Destruction waits for what was submitted; its callbacks never run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "log/io/io_queue.h"
#include "log/io/retry.h"

namespace tidelog::log::io {

struct ThreadIoOptions {
  // Durable writes to files without page cache carry RWF_DSYNC; else each is followed by an
  // fdatasync.
  bool dsync = true;
  int threads = 4;
  int retries_max = kRetriesMax;
  std::string description = "threads";
};

class ThreadIoQueue final : public IoQueue {
 public:
  ThreadIoQueue(Executor& executor, const ThreadIoOptions& options);
  ~ThreadIoQueue() override;
  ThreadIoQueue(const ThreadIoQueue&) = delete;
  ThreadIoQueue& operator=(const ThreadIoQueue&) = delete;

  void write(File& file, FilePosition position, std::span<const std::span<const std::byte>> pieces,
             Durability durability, WriteCallback done) override;
  void read(File& file, FilePosition position, std::span<std::byte> into,
            ReadCallback done) override;
  void sync(File& file, WriteCallback done) override;
  // A process does not end inside pwritev2, so that its lock outlives what its threads write.
  Result<> hold(std::shared_ptr<DirectoryLock> lock) override {
    lock_ = std::move(lock);
    return {};
  }
  void submit() override;
  std::size_t in_flight() const override;
  const IoCounters& counters() const override;
  std::string_view description() const override { return options_.description; }

 private:
  struct State;  // what callbacks touch, on the executor's thread
  struct Pool;
  // Gathers `job`, which runs on a thread and gives what `done` gets on the executor.
  template <typename Value, typename Job, typename Callback>
  void gather(Job job, Callback done);

  Executor& executor_;
  const ThreadIoOptions options_;
  std::shared_ptr<DirectoryLock> lock_;  // may be null
  std::shared_ptr<State> state_;
  std::vector<Task> gathered_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace tidelog::log::io
