#include "broker/shard_set.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>
#include <utility>

#include "broker/awaited.h"
#include "broker/metered_io_queue.h"
#include "broker/metrics.h"
#include "log/io/make_io_queue.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::broker {
namespace {

// Unused buffers that all shards together keep.
constexpr std::size_t kRetainedBufferBytes = 64ULL << 20;

}  // namespace

std::size_t usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    cores = static_cast<std::size_t>(std::max(1, CPU_COUNT(&mask)));
  }
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (quota_file >> quota >> period && period > 0) {
    cores = std::min(cores, static_cast<std::size_t>(std::max(1.0, std::ceil(quota / period))));
  }
  return cores;
}

ShardSet::~ShardSet() { join(); }

Result<> ShardSet::make(std::size_t count, BrokerContext& context, log::io::IoBackend backend,
                        const log::io::StorageProfile& storage) {
  context_ = &context;
  // Before anything that may fail: buffer_bytes_outstanding() reads them from other threads.
  for (std::size_t i = 0; i < count; ++i) {
    buffers_.push_back(std::make_unique<BufferPool>(kRetainedBufferBytes / count));
  }
  for (std::size_t i = 0; i < count; ++i) {
    Shard& shard = *shards_.emplace_back(std::make_unique<Shard>(i, context, *buffers_[i]));
    wire::AsioExecutor& loop = shard.loop();
    log::io::EventWatcher watcher{.watch =
                                      [&loop](int fd, std::move_only_function<void()> readable) {
                                        loop.watch_eventfd(fd, std::move(readable));
                                      },
                                  .unwatch = [&loop](int fd) { loop.unwatch_eventfd(fd); }};
    TIDELOG_ASSIGN(auto queue, log::io::make_io_queue(backend, storage, loop, std::move(watcher)));
    queues_.push_back(std::make_unique<MeteredIoQueue>(std::move(queue), loop.clock(),
                                                       context.metrics->shard(i)));
  }
  const auto wake_shards = [this](const std::function<void(Shard&)>& freed) {
    for (const auto& shard : shards_) {
      shard->executor().post([freed, at = shard.get()] { freed(*at); });
    }
  };
  for (MemoryBudget* budget : {&context.produce_budget, &context.control_budget}) {
    budget->on_freed([wake_shards, budget] {
      wake_shards([budget](Shard& shard) { shard.budget_freed(*budget); });
    });
  }
  context.fetch_budget.on_freed(
      [wake_shards] { wake_shards([](Shard& shard) { shard.parked_fetches().budget_freed(); }); });
  return {};
}

std::vector<log::ShardEnvironment> ShardSet::environments(BlockingExecutor& blocking,
                                                          BlockingExecutor& removal) {
  std::vector<log::ShardEnvironment> all;
  all.reserve(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    all.push_back({.executor = &shards_[i]->executor(),
                   .queue = queues_[i].get(),
                   .blocking = &blocking,
                   .removal = &removal,
                   .buffers = buffers_[i].get()});
  }
  return all;
}

void ShardSet::start(log::LogStore& logs) {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->set_logs(&logs.shard(i));
    shards_[i]->set_peers(peers());
  }
  for (const auto& shard : shards_) shard->start();
  running_ = true;
}

Result<std::uint16_t> ShardSet::listen(const HostPort& address) {
  wire::ListenOptions options{
      .host = address.host, .port = address.port, .share_port = shards_.size() > 1};
  // Here, where it may block; the shards may not.
  const auto found = wire::look_up_host(address.host);
  if (!found) {
    return fail(
        found.error().with_context(fmt::format("cannot listen on {}", address.to_string())));
  }
  options.host = found->front();
  for (const auto& shard : shards_) {
    Awaited<std::uint16_t> listening;
    shard->executor().post(
        [&options, at = shard.get(), done = listening.callback()] { done(at->listen(options)); });
    TIDELOG_ASSIGN(options.port, listening.wait());
    options.first_to_share = false;
  }
  return options.port;
}

std::vector<Router::Peer> ShardSet::peers() const {
  std::vector<Router::Peer> all;
  all.reserve(shards_.size());
  for (const auto& shard : shards_) all.push_back({shard.get(), &shard->executor()});
  return all;
}

std::size_t ShardSet::buffer_bytes_outstanding() const {
  std::size_t bytes = 0;
  for (const auto& pool : buffers_) bytes += pool->outstanding_bytes();
  return bytes;
}

Result<> ShardSet::on_every_shard(const Work& work, Deadline deadline, const char* what) {
  std::vector<Awaited<>> reports(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->executor().post(
        [work, shard = shards_[i].get(), done = reports[i].callback()] { work(*shard, done); });
  }
  Result<> outcome;
  for (Awaited<>& report : reports) {
    Result<> result =
        deadline == Deadline::max() ? report.wait() : report.wait_until(deadline, what);
    if (!result && outcome) outcome = std::move(result);
  }
  return outcome;
}

void ShardSet::join() {
  for (const auto& shard : shards_) shard->join();
  running_ = false;
  if (context_ != nullptr) {
    // What is still held is given back while the shards go: nobody is to be woken any more.
    context_->produce_budget.on_freed(nullptr);
    context_->fetch_budget.on_freed(nullptr);
    context_->control_budget.on_freed(nullptr);
  }
  for (const auto& shard : shards_) shard->let_go();
}

}  // namespace tidelog::broker
