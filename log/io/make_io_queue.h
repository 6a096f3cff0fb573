// The queue of one shard, of the kind that the probe found.
#pragma once

#include <memory>

#include "base/executor.h"
#include "log/io/event_watcher.h"
#include "log/io/io_queue.h"
#include "log/io/storage_probe.h"

namespace tidelog::log::io {

// `executor` and what `watcher` refers to must outlive the queue. With kAuto a ring that cannot be
// had after all (limits on locked memory) is replaced by threads, with one line in the log. Thread:
// where the watcher may be called; afterwards the executor's. Fails with kUnsupportedFeature (kRing
// only).
Result<std::unique_ptr<IoQueue>> make_io_queue(IoBackend backend, const StorageProfile& profile,
                                               Executor& executor, EventWatcher watcher);

}  // namespace tidelog::log::io
