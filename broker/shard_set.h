// All shards of a broker with what each of them needs: its buffers, its disk queue, its share of
// the counters. Makes them, runs them, speaks to all of them, and takes them apart in the order
// that lifetimes want.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "base/result.h"
#include "broker/router.h"
#include "broker/settings.h"
#include "broker/shard.h"
#include "broker/topics.h"
#include "log/io/io_queue.h"
#include "log/io/storage_probe.h"
#include "log/log_store.h"

namespace tidelog::broker {

// Cores this process may use: its affinity mask, and its cgroup's quota rounded up. At least 1.
std::size_t usable_cores();

// Thread: the broker's own, never a shard's, except where said.
class ShardSet {
 public:
  ShardSet() = default;
  ~ShardSet();
  ShardSet(const ShardSet&) = delete;
  ShardSet& operator=(const ShardSet&) = delete;

  // Makes `count` shards, whose threads do not run yet. `context`, which has its metrics, outlives
  // the set. Fails as make_io_queue().
  Result<> make(std::size_t count, BrokerContext& context, log::io::IoBackend backend,
                const log::io::StorageProfile& storage);
  // What the logs of each shard are to use.
  std::vector<log::ShardEnvironment> environments(BlockingExecutor& blocking,
                                                  BlockingExecutor& removal);
  // Gives each shard its logs and starts its thread.
  void start(log::LogStore& logs);
  // Listens on every shard; returns the port they share. Fails with kConnectionFailed.
  Result<std::uint16_t> listen(const HostPort& address);

  std::size_t size() const { return shards_.size(); }
  // True between start() and join().
  bool running() const { return running_; }
  std::vector<Router::Peer> peers() const;
  // What the disk queues are: "io_uring, O_DIRECT + RWF_DSYNC".
  std::string_view io_description() const { return queues_.front()->description(); }
  // Thread: any, while the set lives and after make().
  std::size_t buffer_bytes_outstanding() const;

  using Deadline = std::chrono::steady_clock::time_point;
  using Work = std::function<void(Shard&, Topics::DoneCallback)>;
  // Runs `work` on every shard's thread, and waits until each has called back. Returns the first
  // error. Fails with kTimedOut, which names `what`, after `deadline`.
  Result<> on_every_shard(const Work& work, Deadline deadline, const char* what);

  // Ends the threads, and gives up connections and replicas; the loops stay, for what was posted to
  // them. Safe to call twice.
  void join();
  // Waits for what is under way on the disk. After join().
  void end_io() { queues_.clear(); }
  // Destroys the shards. After the logs have gone.
  void clear() { shards_.clear(); }

 private:
  BrokerContext* context_ = nullptr;
  std::vector<std::unique_ptr<BufferPool>> buffers_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::unique_ptr<log::io::IoQueue>> queues_;
  bool running_ = false;
};

}  // namespace tidelog::broker
