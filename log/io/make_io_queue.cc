#include "log/io/make_io_queue.h"

#include <fmt/format.h>

#include "base/logging.h"
#include "log/io/ring_io_queue.h"
#include "log/io/thread_io_queue.h"

namespace tidelog::log::io {

Result<std::unique_ptr<IoQueue>> make_io_queue(IoBackend backend, const StorageProfile& profile,
                                               Executor& executor, EventWatcher watcher) {
  if (backend == IoBackend::kRing || (backend == IoBackend::kAuto && profile.ring)) {
    auto ring = RingIoQueue::create(
        executor,
        {.dsync = profile.dsync, .description = profile.mode(), .watcher = std::move(watcher)});
    if (ring) return std::unique_ptr<IoQueue>(std::move(ring).value());
    if (backend == IoBackend::kRing) return fail(std::move(ring).error());
    log_warning(fmt::format("threads do the I/O of a shard: {}", ring.error().message()));
  }
  StorageProfile threads = profile;
  threads.ring = false;
  return std::make_unique<ThreadIoQueue>(
      executor, ThreadIoOptions{.dsync = profile.dsync, .description = threads.mode()});
}

}  // namespace tidelog::log::io
