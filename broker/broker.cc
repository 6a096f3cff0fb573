#include "broker/broker.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/blocking_pool.h"
#include "base/logging.h"
#include "broker/admin_http.h"
#include "broker/control_thread.h"
#include "broker/live_settings.h"
#include "broker/metrics.h"
#include "broker/recovery_lines.h"
#include "broker/settings.h"
#include "broker/shard.h"
#include "broker/shard_set.h"
#include "log/io/storage_probe.h"
#include "log/io/system_file_system.h"
#include "log/log_store.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

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

}  // namespace

// Everything a broker is made of. Threads of its own come and go in start() and stop().
class Broker::Parts {
 public:
  Parts(const BrokerSettings& settings, const ConnectionLimits& limits)
      : settings_(settings),
        context_({.produce_bytes = settings.produce_memory_bytes,
                  .fetch_bytes = settings.fetch_memory_bytes,
                  .control_bytes = settings.control_memory_bytes},
                 {.all = settings.connections_max,
                  .of_one_address = settings.connections_per_address_max}),
        stop_event_(::eventfd(0, EFD_CLOEXEC)) {
    context_.id = settings.broker_id;
    context_.version = TIDELOG_VERSION;
    context_.limits = limits;
    context_.quotas.set_limits(settings.quota_in_bytes, settings.quota_out_bytes);
    context_.default_partitions = settings.default_partitions;
    context_.settings = &live_settings_;
    if (settings.admin_listen) context_.admin_host = settings.admin_listen->host;
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
  // How far the broker is; read by the admin pages' threads.
  enum class Phase : std::uint8_t { kStarting, kServing, kStopping };

  Result<> make_shards();
  Result<> open_data();
  Result<> tell_of_other_files() const;
  Result<> open_logs(const replication::ClusterView& topics);
  Result<> start_admin();
  Readiness readiness() const;
  void log_recovery() const;
  void log_start() const;
  Result<> drain_and_close(steady_clock::time_point deadline);
  // Ends all threads and everything under way on the disk; the loops stay, for what was posted to
  // them.
  void end_threads();
  // Does so and takes everything apart, in the order that lifetimes want.
  void let_go();

  const BrokerSettings settings_;
  BrokerContext context_;
  LiveSettings live_settings_{settings_, [this](const BrokerSettings& now) {
                                set_log_level(now.log_level);
                                context_.default_partitions = now.default_partitions;
                                context_.quotas.set_limits(now.quota_in_bytes, now.quota_out_bytes);
                              }};
  const int stop_event_;
  std::unique_ptr<BrokerMetrics> metrics_;
  log::io::StorageProfile storage_;
  std::unique_ptr<log::io::SystemFileSystem> files_;
  std::unique_ptr<BlockingPool> file_threads_;
  std::unique_ptr<BlockingPool> removal_thread_;
  std::unique_ptr<ControlThread> control_;
  ShardSet shards_;
  std::unique_ptr<log::LogStore> logs_;
  std::unique_ptr<AdminHttp> admin_;
  std::uint16_t port_ = 0;
  std::atomic<Phase> phase_{Phase::kStarting};
  bool stopped_ = false;
};

Result<> Broker::Parts::start() {
  if (stop_event_ < 0) return fail(ErrorCode::kInternal, "no event descriptor is to be had");
  TIDELOG_ASSIGN(storage_,
                 log::io::probe_storage(
                     settings_.data_dir,
                     {.backend = io_backend(settings_.storage_io),
                      .allow_network_file_system = settings_.storage_allow_network_filesystem}));
  context_.storage = &storage_;
  context_.started_ms = system_clock().wall_us() / 1000;
  TIDELOG_TRY(make_shards());
  files_ = std::make_unique<log::io::SystemFileSystem>(storage_.direct);
  file_threads_ = std::make_unique<BlockingPool>("files", kFileThreads);
  removal_thread_ = std::make_unique<BlockingPool>("removal", 1);
  control_ = std::make_unique<ControlThread>(settings_.broker_id, *file_threads_);
  context_.control = control_.get();
  // Before anything is read: recovery may take a while, and who watches the broker wants to know.
  TIDELOG_TRY(start_admin());
  TIDELOG_TRY(open_data());
  shards_.start(*logs_);
  TIDELOG_TRY(control_->start(logs_->needs_new_epochs(), shards_.peers()));
  TIDELOG_TRY(shards_.on_every_shard(
      [](Shard& shard, Topics::DoneCallback done) {
        shard.topics().adopt_recovered();
        done({});
      },
      steady_clock::time_point::max(), "taking over recovered logs"));
  TIDELOG_ASSIGN(port_, shards_.listen(settings_.listen));
  phase_ = Phase::kServing;
  log_start();
  return {};
}

Result<> Broker::Parts::make_shards() {
  const std::size_t count =
      settings_.shards > 0 ? static_cast<std::size_t>(settings_.shards) : usable_cores();
  metrics_ = std::make_unique<BrokerMetrics>(count, context_.version, [this] {
    BrokerGauges gauges;
    gauges.buffer_bytes_outstanding = shards_.buffer_bytes_outstanding();
    gauges.produce_budget = {context_.produce_budget.used(), context_.produce_budget.limit()};
    gauges.fetch_budget = {context_.fetch_budget.used(), context_.fetch_budget.limit()};
    gauges.control_budget = {context_.control_budget.used(), context_.control_budget.limit()};
    gauges.durability = log::io::to_string(storage_.file_system.stability);
    gauges.file_system = storage_.file_system.type;
    gauges.io = storage_.mode();
    gauges.data = directory_space(settings_.data_dir);
    gauges.process = process_stats();
    for (std::size_t i = 0; i < gauges.log_lines.size(); ++i) {
      gauges.log_lines[i] = logged_lines(static_cast<LogLevel>(i));
    }
    gauges.log_lines_dropped = dropped_log_lines();
    gauges.file_jobs_waiting = file_threads_->waiting() + removal_thread_->waiting();
    gauges.topic_changes = control_->changes_under_way();
    gauges.storage_sound = !context_.storage_failed;
    gauges.ready = phase_ == Phase::kServing && gauges.storage_sound;
    return gauges;
  });
  context_.metrics = metrics_.get();
  return shards_.make(count, context_, io_backend(settings_.storage_io), storage_);
}

// Not refused: the directory may be meant to hold them. But `--data $HOME` is a slip as a rule.
Result<> Broker::Parts::tell_of_other_files() const {
  // Those of a first start that was cut short, and of an empty file system.
  constexpr std::string_view kKnown[] = {"catalog", "checkpoint", "clean-stop", "journal",   "lock",
                                         "meta",    "metadata",   "repair",     "lost+found"};
  TIDELOG_ASSIGN(const bool is_there, files_->exists(settings_.data_dir));
  if (!is_there) return {};
  TIDELOG_ASSIGN(const auto entries, files_->list(settings_.data_dir));
  for (const log::io::DirectoryEntry& entry : entries) {
    const std::string stem = entry.name.substr(0, entry.name.find('.', 1));
    if (std::ranges::find(kKnown, stem) != std::end(kKnown)) continue;
    log_warning(fmt::format(
        "'{}' becomes a data directory and holds other files too, such as '{}'; if that is a "
        "mistake, stop the broker and choose another directory with --data",
        settings_.data_dir, entry.name));
    break;
  }
  return {};
}

// Metadata and logs belong together. Where one of them is missing the start ends before it makes
// anything: the next one would take what was made for all there ever was.
Result<> Broker::Parts::open_data() {
  const std::string metadata = settings_.data_dir + "/metadata";
  TIDELOG_ASSIGN(const bool has_logs, log::LogStore::exists(*files_, settings_.data_dir));
  TIDELOG_ASSIGN(const bool has_metadata, replication::LocalStore::exists(*files_, metadata));
  if (!has_logs && !has_metadata) TIDELOG_TRY(tell_of_other_files());
  if (has_logs && !has_metadata) {
    return fail(ErrorCode::kCorruptData,
                fmt::format("'{}' holds logs, but '{}' with their topics is missing; put it back, "
                            "or choose another directory with --data",
                            settings_.data_dir, metadata));
  }
  TIDELOG_ASSIGN(const auto topics, control_->open(*files_, metadata));
  if (!has_logs && !topics->topics().empty()) {
    return fail(ErrorCode::kCorruptData,
                fmt::format("'{}' knows {} topics, but all their logs are missing; put them back, "
                            "or choose another directory with --data",
                            settings_.data_dir, topics->topics().size()));
  }
  return open_logs(*topics);
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
  options.shard.free_space_bytes_min = settings_.free_bytes_min;
  options.shard.journal_bytes_max = settings_.journal_bytes_max;
  options.shard.journal_bytes_min =
      std::min(options.shard.journal_bytes_min, options.shard.journal_bytes_max);
  RecoveryLines lines(system_clock());
  options.on_recovery_progress = [&lines](const log::RecoveryProgress& progress) {
    if (const auto line = lines.next(progress)) log_info(*line);
  };
  TIDELOG_ASSIGN(logs_,
                 log::LogStore::open(
                     *files_, options, shards_.environments(*file_threads_, *removal_thread_),
                     [count](const TopicPartition& id) { return shard_of_partition(id, count); },
                     [&topics](const TopicPartition& id) {
                       const replication::TopicView* topic = topics.find(id.topic);
                       return topic != nullptr ? topic->settings.log_settings()
                                               : log::PartitionLogSettings{};
                     }));
  context_.cluster_id = logs_->identity().cluster_id;
  log_recovery();
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
                    found.logs, found.journal_entries_replayed, found.torn_logs_truncated),
        {{"logs", std::to_string(found.logs)},
         {"journal_entries", std::to_string(found.journal_entries_replayed)},
         {"torn_ends", std::to_string(found.torn_logs_truncated)}});
  }
  for (const std::string& problem : found.problems) log_error(problem);
}

Result<> Broker::Parts::start_admin() {
  if (!settings_.admin_listen) return {};
  AdminPages pages;
  pages.readiness = [this] { return readiness(); };
  pages.metrics = [this] { return metrics_->text(); };
  pages.version_json = [this] {
    // Which cluster it is becomes known while it starts.
    return fmt::format(R"({{"version":"{}","broker_id":{},"cluster_id":"{}"}})", context_.version,
                       context_.id.value(), phase_ == Phase::kStarting ? "" : context_.cluster_id);
  };
  TIDELOG_ASSIGN(admin_, AdminHttp::start(*settings_.admin_listen, std::move(pages)));
  context_.admin_port = admin_->port();
  return {};
}

Readiness Broker::Parts::readiness() const {
  Readiness now{.ready = false, .reason = {}, .storage = storage_.summary};
  for (const std::string& warning : storage_.warnings) now.storage += "; " + warning;
  if (context_.storage_failed.load(std::memory_order_acquire)) {
    const auto failure = logs_->failure();
    now.reason = fmt::format(
        "no records are taken until the broker starts again: a change of '{}' failed ({})",
        settings_.data_dir, failure ? failure->message() : "unknown");
    return now;
  }
  switch (phase_.load()) {
    case Phase::kStarting:
      now.reason = "the broker is starting: it reads and recovers its data directory";
      break;
    case Phase::kServing:
      now.ready = true;
      break;
    case Phase::kStopping:
      now.reason = "the broker is stopping";
      break;
  }
  return now;
}

void Broker::Parts::log_start() const {
  for (const std::string& warning : storage_.warnings) log_warning(warning);
  const std::string admin =
      admin_ ? HostPort{settings_.admin_listen->host, admin_->port()}.to_string() : "off";
  log_info(
      fmt::format(
          "broker {} serves {} from '{}' (admin {}); {} shard{}; {}; records are acknowledged {}",
          context_.id.value(), address().to_string(), settings_.data_dir, admin, shards_.size(),
          shards_.size() == 1 ? "" : "s", shards_.io_description(),
          storage_.stable() ? "once they are on stable storage"
                            : "once written, but this storage does not survive a power cut"),
      {{"broker", std::to_string(context_.id.value())},
       {"version", context_.version},
       {"cluster_id", context_.cluster_id},
       {"listen", address().to_string()},
       {"admin", admin},
       {"data_dir", settings_.data_dir},
       {"shards", std::to_string(shards_.size())}});
}

Result<> Broker::Parts::stop(milliseconds deadline) {
  if (std::exchange(stopped_, true)) return {};
  const bool served = shards_.running();
  if (served) phase_ = Phase::kStopping;
  const auto until = steady_clock::now() + deadline;
  Result<> outcome;
  if (served) outcome = drain_and_close(until);
  if (control_) {
    Result<> closed = control_->close(until);
    if (!closed && outcome) outcome = std::move(closed);
  }
  if (!served) {  // start() failed before anything was served
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
  (void)shards_.on_every_shard(
      [within = left() / 2](Shard& shard, Topics::DoneCallback done) {
        shard.drain(within, [done = std::move(done)]() mutable { done({}); });
      },
      deadline, "settling requests in flight");
  (void)shards_.on_every_shard(
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
  (void)shards_.on_every_shard(
      [within = std::min(left() / 4, milliseconds(500))](Shard& shard, Topics::DoneCallback done) {
        shard.close_connections(within, [done = std::move(done)]() mutable { done({}); });
      },
      deadline, "closing the connections");
  return shards_.on_every_shard(
      [](Shard& shard, Topics::DoneCallback done) { shard.logs().close(std::move(done)); },
      deadline, "closing the logs");
}

void Broker::Parts::end_threads() {
  if (admin_) admin_->stop();  // a scrape looks at all that ends here
  shards_.join();
  if (control_) control_->let_go();
  // Jobs and writes under way use the logs' own files and memory, so they end before the logs do.
  removal_thread_.reset();
  file_threads_.reset();
  shards_.end_io();
}

void Broker::Parts::let_go() {
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
