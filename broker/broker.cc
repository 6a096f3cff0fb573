#include "broker/broker.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "base/blocking_pool.h"
#include "base/check.h"
#include "base/logging.h"
#include "broker/admin_http.h"
#include "broker/awaited.h"
#include "broker/control_thread.h"
#include "broker/metrics.h"
#include "broker/settings.h"
#include "broker/shard.h"
#include "log/io/make_io_queue.h"
#include "log/io/storage_probe.h"
#include "log/io/system_file_system.h"
#include "log/log_store.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Unused buffers that all shards together keep.
constexpr std::size_t kRetainedBufferBytes = 64ULL << 20;
constexpr int kFileThreads = 2;
// Reads of old records at once; more would delay the writes of new ones.
constexpr int kColdReadsInFlightMax = 4;

log::io::IoBackend io_backend(StorageIo setting) {
  switch (setting) {
    case StorageIo::kAuto:
      return log::io::IoBackend::kAuto;
    case StorageIo::kRing:
      return log::io::IoBackend::kRing;
    case StorageIo::kThreads:
      return log::io::IoBackend::kThreads;
  }
  return log::io::IoBackend::kAuto;
}

// Cores this process may use: its affinity mask, and its cgroup's quota rounded up.
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

}  // namespace

// Everything a broker is made of. Threads of its own come and go in start() and stop().
class Broker::Parts {
 public:
  Parts(const BrokerSettings& settings, const ConnectionLimits& limits)
      : settings_(settings),
        context_(settings.produce_memory_bytes, settings.fetch_memory_bytes),
        stop_event_(::eventfd(0, EFD_CLOEXEC)) {
    context_.id = settings.broker_id;
    context_.version = TIDELOG_VERSION;
    context_.limits = limits;
    context_.default_partitions = settings.default_partitions;
    if (settings.advertised_listen) {
      context_.advertised_host = settings.advertised_listen->host;
      context_.advertised_port = settings.advertised_listen->port;
    }
  }
  ~Parts() {
    let_go();
    if (stop_event_ >= 0) ::close(stop_event_);
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  Result<> start();
  Result<> stop(milliseconds deadline);

  HostPort address() const { return {settings_.listen.host, port_}; }
  std::uint16_t admin_port() const { return admin_ ? admin_->port() : 0; }
  void request_stop() const noexcept {
    const std::uint64_t one = 1;
    // Only a full counter could refuse, and then the request is there already.
    [[maybe_unused]] const ssize_t written = ::write(stop_event_, &one, sizeof one);
  }
  void wait_for_stop_request() const {
    std::uint64_t count = 0;
    while (::read(stop_event_, &count, sizeof count) < 0 && errno == EINTR) {
    }
  }

 private:
  Result<> start_shards();
  Result<> open_logs(const replication::ClusterView& topics);
  Result<> listen();
  Result<> start_admin();
  void log_recovery() const;
  void log_start() const;
  // Runs `work` on every shard's thread, and waits until each has called back.
  Result<> on_every_shard(std::function<void(Shard&, Topics::DoneCallback)> work,
                          steady_clock::time_point deadline, const char* what);
  Result<> drain_and_close(steady_clock::time_point deadline);
  // Ends all threads and everything under way on the disk; the loops stay, for what was posted to
  // them.
  void end_threads();
  // Does so and takes everything apart, in the order that lifetimes want.
  void let_go();
  std::vector<Router::Peer> peers() const;

  const BrokerSettings settings_;
  BrokerContext context_;
  const int stop_event_;
  std::unique_ptr<BrokerMetrics> metrics_;
  log::io::StorageProfile storage_;
  std::unique_ptr<log::io::SystemFileSystem> files_;
  std::vector<std::unique_ptr<BufferPool>> buffers_;
  std::unique_ptr<BlockingPool> file_threads_;
  std::unique_ptr<ControlThread> control_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::unique_ptr<log::io::IoQueue>> queues_;
  std::unique_ptr<log::LogStore> logs_;
  std::unique_ptr<AdminHttp> admin_;
  std::uint16_t port_ = 0;
  std::atomic<bool> ready_{false};
  bool shards_run_ = false;
  bool stopped_ = false;
};

Result<> Broker::Parts::start() {
  if (stop_event_ < 0) return fail(ErrorCode::kInternal, "no event descriptor is to be had");
  TIDELOG_ASSIGN(storage_,
                 log::io::probe_storage(
                     settings_.data_dir,
                     {.backend = io_backend(settings_.storage_io),
                      .allow_network_file_system = settings_.storage_allow_network_filesystem}));
  files_ = std::make_unique<log::io::SystemFileSystem>(storage_.direct);
  file_threads_ = std::make_unique<BlockingPool>("files", kFileThreads);
  control_ = std::make_unique<ControlThread>(settings_.broker_id, *file_threads_);
  context_.control = control_.get();
  TIDELOG_ASSIGN(const auto topics, control_->open(*files_, settings_.data_dir + "/metadata"));
  TIDELOG_TRY(start_shards());
  TIDELOG_TRY(open_logs(*topics));
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->set_logs(&logs_->shard(i));
    shards_[i]->set_peers(peers());
    shards_[i]->start();
  }
  shards_run_ = true;
  TIDELOG_TRY(control_->start(logs_->needs_new_epochs(), peers()));
  TIDELOG_TRY(on_every_shard(
      [](Shard& shard, Topics::DoneCallback done) {
        shard.topics().adopt_recovered();
        done({});
      },
      steady_clock::time_point::max(), "taking over recovered logs"));
  TIDELOG_TRY(listen());
  ready_ = true;
  TIDELOG_TRY(start_admin());
  log_start();
  return {};
}

Result<> Broker::Parts::start_shards() {
  const std::size_t count =
      settings_.shards > 0 ? static_cast<std::size_t>(settings_.shards) : usable_cores();
  metrics_ = std::make_unique<BrokerMetrics>(count, context_.version, [this] {
    BrokerGauges gauges;
    for (const auto& pool : buffers_) gauges.buffer_bytes_outstanding += pool->outstanding_bytes();
    gauges.log_lines_dropped = dropped_log_lines();
    gauges.storage_sound = !context_.storage_failed;
    gauges.ready = ready_ && gauges.storage_sound;
    return gauges;
  });
  context_.metrics = metrics_.get();
  for (std::size_t i = 0; i < count; ++i) {
    buffers_.push_back(std::make_unique<BufferPool>(kRetainedBufferBytes / count));
    Shard& shard = *shards_.emplace_back(std::make_unique<Shard>(i, context_, *buffers_.back()));
    wire::AsioExecutor& loop = shard.loop();
    log::io::EventWatcher watcher{.watch =
                                      [&loop](int fd, std::move_only_function<void()> readable) {
                                        loop.watch_eventfd(fd, std::move(readable));
                                      },
                                  .unwatch = [&loop](int fd) { loop.unwatch_eventfd(fd); }};
    TIDELOG_ASSIGN(auto queue, log::io::make_io_queue(io_backend(settings_.storage_io), storage_,
                                                      loop, std::move(watcher)));
    queues_.push_back(std::move(queue));
  }
  const auto wake_shards = [this](void (*freed)(Shard&)) {
    for (const auto& shard : shards_) {
      shard->executor().post([freed, at = shard.get()] { freed(*at); });
    }
  };
  context_.produce_budget.on_freed(
      [wake_shards] { wake_shards([](Shard& shard) { shard.produce_budget_freed(); }); });
  context_.fetch_budget.on_freed(
      [wake_shards] { wake_shards([](Shard& shard) { shard.parked_fetches().budget_freed(); }); });
  return {};
}

Result<> Broker::Parts::open_logs(const replication::ClusterView& topics) {
  const std::size_t count = shards_.size();
  log::LogStoreOptions options;
  options.path = settings_.data_dir;
  options.broker_id = settings_.broker_id.value();
  options.shard.tail_cache_bytes = settings_.tail_cache_bytes / count;
  // Of the device, which all shards read.
  options.shard.cold_reads_in_flight_max =
      std::max(1, kColdReadsInFlightMax / static_cast<int>(count));
  options.shard.journal_bytes_max = settings_.journal_bytes_max;
  options.shard.journal_bytes_min =
      std::min(options.shard.journal_bytes_min, options.shard.journal_bytes_max);
  std::vector<log::ShardEnvironment> environments;
  environments.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    environments.push_back({.executor = &shards_[i]->executor(),
                            .queue = queues_[i].get(),
                            .blocking = file_threads_.get(),
                            .buffers = buffers_[i].get()});
  }
  TIDELOG_ASSIGN(logs_,
                 log::LogStore::open(
                     *files_, options, std::move(environments),
                     [count](const TopicPartition& id) { return shard_of_partition(id, count); },
                     [&topics](const TopicPartition& id) {
                       const replication::TopicView* topic = topics.find(id.topic);
                       return topic != nullptr ? topic->settings.log_settings()
                                               : log::PartitionLogSettings{};
                     }));
  context_.cluster_id = logs_->identity().cluster_id;
  log_recovery();
  const bool logs_are_new = logs_->recovery().created;
  if (control_->store_created() && !logs_are_new) {
    return fail(
        ErrorCode::kCorruptData,
        fmt::format("'{0}' holds logs, but '{0}/metadata' with their topics is missing; put "
                    "it back, or choose another directory with --data",
                    settings_.data_dir));
  }
  if (logs_are_new && !topics.topics().empty()) {
    return fail(ErrorCode::kCorruptData,
                fmt::format("'{}' knows {} topics, but all their logs are missing; put them back, "
                            "or choose another directory with --data",
                            settings_.data_dir, topics.topics().size()));
  }
  return {};
}

void Broker::Parts::log_recovery() const {
  const log::RecoverySummary& found = logs_->recovery();
  if (found.created) {
    log_info(fmt::format("'{}' is a new data directory", settings_.data_dir));
  } else if (found.clean) {
    log_info(fmt::format("the last stop was clean; {} logs", found.logs));
  } else {
    log_info(
        fmt::format("recovered after an unclean stop: {} logs, {} journal entries replayed, {} "
                    "torn ends cut",
                    found.logs, found.journal_entries_replayed, found.torn_logs_truncated));
  }
  for (const std::string& problem : found.problems) log_error(problem);
}

Result<> Broker::Parts::listen() {
  wire::ListenOptions options{.host = settings_.listen.host,
                              .port = settings_.listen.port,
                              .share_port = shards_.size() > 1};
  for (const auto& shard : shards_) {
    Awaited<std::uint16_t> listening;
    shard->executor().post(
        [&options, at = shard.get(), done = listening.callback()] { done(at->listen(options)); });
    TIDELOG_ASSIGN(port_, listening.wait());
    options.port = port_;
    options.first_to_share = false;
  }
  return {};
}

Result<> Broker::Parts::start_admin() {
  if (!settings_.admin_listen) return {};
  std::string storage = storage_.summary;
  for (const std::string& warning : storage_.warnings) storage += "; " + warning;
  AdminPages pages;
  pages.readiness = [this, storage] {
    Readiness readiness{.ready = ready_, .reason = {}, .storage = storage};
    if (context_.storage_failed) {
      readiness.ready = false;
      readiness.reason = "a write to the data directory failed: no records are taken";
    } else if (!readiness.ready) {
      readiness.reason = "the broker is stopping";
    }
    return readiness;
  };
  pages.metrics = [this] { return metrics_->text(); };
  pages.version_json = fmt::format(R"({{"version":"{}","broker_id":{},"cluster_id":"{}"}})",
                                   context_.version, context_.id.value(), context_.cluster_id);
  TIDELOG_ASSIGN(admin_, AdminHttp::start(*settings_.admin_listen, std::move(pages)));
  return {};
}

void Broker::Parts::log_start() const {
  for (const std::string& warning : storage_.warnings) log_warning(warning);
  const std::string admin =
      admin_ ? HostPort{settings_.admin_listen->host, admin_->port()}.to_string() : "off";
  log_info(fmt::format(
      "broker {} serves {} from '{}' (admin {}); {} shard{}; {}; records are acknowledged {}",
      context_.id.value(), address().to_string(), settings_.data_dir, admin, shards_.size(),
      shards_.size() == 1 ? "" : "s", queues_.front()->description(),
      storage_.stable() ? "once they are on stable storage"
                        : "once written, but this storage does not survive a power cut"));
}

std::vector<Router::Peer> Broker::Parts::peers() const {
  std::vector<Router::Peer> all;
  all.reserve(shards_.size());
  for (const auto& shard : shards_) all.push_back({shard.get(), &shard->executor()});
  return all;
}

Result<> Broker::Parts::on_every_shard(std::function<void(Shard&, Topics::DoneCallback)> work,
                                       steady_clock::time_point deadline, const char* what) {
  std::vector<Awaited<>> reports(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->executor().post(
        [work, shard = shards_[i].get(), done = reports[i].callback()] { work(*shard, done); });
  }
  Result<> outcome;
  for (Awaited<>& report : reports) {
    Result<> result = deadline == steady_clock::time_point::max()
                          ? report.wait()
                          : report.wait_until(deadline, what);
    if (!result && outcome) outcome = std::move(result);
  }
  return outcome;
}

Result<> Broker::Parts::stop(milliseconds deadline) {
  if (std::exchange(stopped_, true)) return {};
  ready_ = false;
  const auto until = steady_clock::now() + deadline;
  Result<> outcome;
  if (shards_run_) outcome = drain_and_close(until);
  if (control_) {
    Result<> closed = control_->close(until);
    if (!closed && outcome) outcome = std::move(closed);
  }
  if (!shards_run_) {  // start() failed before anything was served
    let_go();
    return outcome;
  }
  end_threads();
  if (outcome) outcome = logs_->finish_clean_stop();
  let_go();
  if (outcome) {
    log_info(fmt::format("broker {} has stopped", context_.id.value()));
  } else {
    log_error(fmt::format("broker {} could not stop cleanly, the next start recovers: {}",
                          context_.id.value(), outcome.error().to_string()));
  }
  return outcome;
}

Result<> Broker::Parts::drain_and_close(steady_clock::time_point deadline) {
  const auto left = [deadline] {
    const auto rest = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    return std::max(rest, milliseconds(1));
  };
  // What is in flight may use half of the time; what does not settle by then is told so.
  (void)on_every_shard(
      [within = left() / 2](Shard& shard, Topics::DoneCallback done) {
        shard.drain(within, [done = std::move(done)]() mutable { done({}); });
      },
      deadline, "settling requests in flight");
  (void)on_every_shard(
      [](Shard& shard, Topics::DoneCallback done) {
        shard.topics().stop_all();
        // Behind the answers that stopping the replicas posted. Those for connections of other
        // shards must be on their way before any shard is told to close its connections.
        shard.executor().post([&shard, done = std::move(done)]() mutable {
          shard.router().flush();
          done({});
        });
      },
      deadline, "stopping the replicas");
  (void)on_every_shard(
      [within = std::min(left() / 4, milliseconds(500))](Shard& shard, Topics::DoneCallback done) {
        shard.close_connections(within, [done = std::move(done)]() mutable { done({}); });
      },
      deadline, "closing the connections");
  return on_every_shard(
      [](Shard& shard, Topics::DoneCallback done) { shard.logs().close(std::move(done)); },
      deadline, "closing the logs");
}

void Broker::Parts::end_threads() {
  for (const auto& shard : shards_) shard->join();
  // What is still held is given back while the shards go: nobody is to be woken any more.
  context_.produce_budget.on_freed(nullptr);
  context_.fetch_budget.on_freed(nullptr);
  for (const auto& shard : shards_) shard->let_go();
  if (control_) control_->let_go();
  // Jobs and writes under way use the logs' own files and memory, so they end before the logs do.
  file_threads_.reset();
  queues_.clear();
}

void Broker::Parts::let_go() {
  ready_ = false;
  if (admin_) admin_->stop();
  end_threads();
  logs_.reset();
  shards_.clear();
  control_.reset();
}

Broker::Broker(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Broker::~Broker() { (void)stop(); }

Result<std::unique_ptr<Broker>> Broker::start(const BrokerSettings& settings) {
  return start(settings, ConnectionLimits{});
}

Result<std::unique_ptr<Broker>> Broker::start(const BrokerSettings& settings,
                                              const ConnectionLimits& limits) {
  std::unique_ptr<Broker> broker(new Broker(std::make_unique<Parts>(settings, limits)));
  if (Result<> started = broker->parts_->start(); !started) {
    (void)broker->stop();
    return fail(std::move(started).error());
  }
  return broker;
}

std::uint16_t Broker::port() const { return parts_->address().port; }
std::string Broker::address() const { return parts_->address().to_string(); }
std::uint16_t Broker::admin_port() const { return parts_->admin_port(); }
void Broker::request_stop() noexcept { parts_->request_stop(); }

Result<> Broker::run_until_stopped() {
  parts_->wait_for_stop_request();
  return parts_->stop(kStopDeadline);
}

Result<> Broker::stop(milliseconds deadline) { return parts_->stop(deadline); }

}  // namespace tidelog::broker
