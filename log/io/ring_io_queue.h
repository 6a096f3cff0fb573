// The IoQueue of production: one io_uring for one shard.
//
// Completions are announced by an eventfd registered with the ring, which the shard's loop watches
// (EventWatcher); they are also looked for after each submit. Callbacks run as one posted task for
// all that were found together.
//
// The ring has room for every completion of what it was given (the rest waits in a queue of its
// own), so it never overflows. No locks. Thread: the one that submits first, for good (the kernel
// enforces it); construction may happen elsewhere before. Destruction waits for what the kernel
// holds, for it writes into the callers' memory; its callbacks never run.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "log/io/event_watcher.h"
#include "log/io/gather_cursor.h"
#include "log/io/io_queue.h"
#include "log/io/retry.h"
#include "log/io/system_file.h"

namespace tidelog::log::io {

struct RingOptions {
  // Durable writes to files without page cache carry RWF_DSYNC; else each is followed by an
  // fdatasync.
  bool dsync = true;
  // Operations in the kernel at once.
  unsigned in_kernel_max = 256;
  int retries_max = kRetriesMax;
  std::string description = "io_uring";
  EventWatcher watcher;
};

class RingIoQueue final : public IoQueue {
 public:
  // Fails with kUnsupportedFeature: the kernel or the container has no io_uring to give; the
  // message says why.
  static Result<std::unique_ptr<RingIoQueue>> create(Executor& executor,
                                                     const RingOptions& options);
  ~RingIoQueue() override;
  RingIoQueue(const RingIoQueue&) = delete;
  RingIoQueue& operator=(const RingIoQueue&) = delete;

  void write(File& file, FilePosition position, std::span<const std::span<const std::byte>> pieces,
             Durability durability, WriteCallback done) override;
  void read(File& file, FilePosition position, std::span<std::byte> into,
            ReadCallback done) override;
  void sync(File& file, WriteCallback done) override;
  void submit() override;
  Result<> hold(std::shared_ptr<DirectoryLock> lock) override;
  std::size_t in_flight() const override { return in_flight_; }
  const IoCounters& counters() const override { return counters_; }
  std::string_view description() const override { return options_.description; }

 private:
  struct Kernel;     // the ring itself
  struct Operation;  // one write, read or sync on its way

  RingIoQueue(Executor& executor, RingOptions options, std::unique_ptr<Kernel> kernel);

  Operation& take_operation(File& file);
  // Hands waiting operations to the kernel as far as there is room, then looks for completions.
  void pump();
  void prepare(Operation& operation);
  // Lets it wait for the sync of its file that is under way.
  void want_sync(Operation& operation);
  void sync_ended(Operation& operation, int result);
  void retry_later();
  bool enter_kernel();
  void reap();
  // What became of one attempt: goes on with it, or finishes the operation.
  void attempt_ended(Operation& operation, int result);
  void write_ended(Operation& operation, int result);
  void read_ended(Operation& operation, int result);
  void finish(Operation& operation, Result<std::size_t> result);
  void run_callbacks();

  Executor& executor_;
  const RingOptions options_;
  std::shared_ptr<DirectoryLock> lock_;  // may be null
  std::unique_ptr<Kernel> kernel_;
  std::vector<std::unique_ptr<Operation>> operations_;  // all there are
  std::vector<Operation*> free_;
  std::vector<Operation*> gathered_;  // until submit()
  std::deque<Operation*> waiting_;    // for room in the kernel
  std::vector<Operation*> delayed_;   // until the next retry
  // Files with a sync under way: those that wait for it to end (SystemFile::sync_data()).
  std::map<SystemFile*, std::deque<Operation*>> syncs_;
  unsigned in_kernel_ = 0;
  std::size_t in_flight_ = 0;
  IoCounters counters_;
  std::deque<Operation*> finished_;
  bool callbacks_posted_ = false;
  TimerId retry_ = 0;
  std::shared_ptr<RingIoQueue*> self_;  // null behind it once the queue is gone
};

}  // namespace tidelog::log::io
