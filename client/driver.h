// The library's thread: an event loop with the real network, on which a client's core runs, and
// the way there for users' threads.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "client/broker_pool.h"
#include "tidelog/options.h"
#include "wire/transport/transport.h"

namespace tidelog::client_core {

class Driver {
 public:
  // Starts the thread.
  Driver();
  // Ends it; what was posted and did not run is dropped. REQUIRES: the core is gone (see run()),
  // and this is not the library's thread.
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  Executor& executor();
  wire::Network& network();
  // Kept alive by whatever still points into its buffers.
  const std::shared_ptr<BufferPool>& buffers() const { return buffers_; }

  // Runs `task` on the library's thread and returns when it has run; at once when this is that
  // thread.
  void run(const std::function<void()>& task);
  // The same, but waits no longer than this. False: it will run later, before the destructor ends.
  bool run_within(std::chrono::milliseconds patience, std::function<void()> task);
  bool on_thread() const;

 private:
  struct Loop;
  std::shared_ptr<BufferPool> buffers_;
  std::unique_ptr<Loop> loop_;
};

// The pool's part of the public options. Fails with kInvalidArgument (an address).
Result<PoolOptions> to_pool_options(const client::ConnectOptions& options);

}  // namespace tidelog::client_core
