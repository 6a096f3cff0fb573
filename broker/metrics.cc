#include "broker/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <sstream>
#include <utility>

#include "base/check.h"

namespace tidelog::broker {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kUsPerSecond = 1e6;

// Metrics that are one number of each shard.
struct ShardFamily {
  MetricInfo info;
  Metric ShardMetrics::* field;
};
constexpr auto kShardFamilies = std::to_array<ShardFamily>({
    {{"tidelog_connections", "gauge", "shard", "open connections of clients"},
     &ShardMetrics::connections},
    {{"tidelog_partitions", "gauge", "shard", "partitions whose log this shard owns"},
     &ShardMetrics::partitions},
    {{"tidelog_fetch_readers", "gauge", "shard",
      "fetch sessions that read partitions of this shard"},
     &ShardMetrics::fetch_readers},
    {{"tidelog_longest_turn_us", "gauge", "shard",
      "longest turn of the event loop since the start, microseconds"},
     &ShardMetrics::longest_turn_us},
    {{"tidelog_tail_cache_bytes", "gauge", "shard", "memory that holds the newest records, bytes"},
     &ShardMetrics::tail_cache_bytes},
    {{"tidelog_open_segments", "gauge", "shard", "segment files held open"},
     &ShardMetrics::open_segments},
    {{"tidelog_storage_full", "gauge", "shard", "1 while records are refused for want of space"},
     &ShardMetrics::storage_full},
    {{"tidelog_lossy_partitions", "gauge", "shard",
      "partitions of which acknowledged records are missing"},
     &ShardMetrics::lossy_partitions},
    {{"tidelog_damaged_ranges", "gauge", "shard",
      "ranges of offsets that readers, since the start, found damaged on the disk"},
     &ShardMetrics::damaged_ranges},
    {{"tidelog_undurable_bytes", "gauge", "shard", "appended and not yet on stable storage, bytes"},
     &ShardMetrics::undurable_bytes},
    {{"tidelog_requests_in_flight", "gauge", "shard",
      "requests received and not settled, waiting fetches among them"},
     &ShardMetrics::requests_in_flight},
    {{"tidelog_fetch_sessions", "gauge", "shard", "open fetch sessions"},
     &ShardMetrics::fetch_sessions},
    {{"tidelog_disk_operations_in_flight", "gauge", "shard",
      "writes, syncs and reads of the disk that are under way"},
     &ShardMetrics::disk_operations_in_flight},
    {{"tidelog_accepted_connections_total", "counter", "shard", "connections accepted"},
     &ShardMetrics::accepted_connections},
    {{"tidelog_moved_connections_total", "counter", "shard",
      "connections that came from another shard at their hello"},
     &ShardMetrics::moved_connections},
    {{"tidelog_refused_connections_total", "counter", "shard",
      "connections closed at once because there were too many"},
     &ShardMetrics::refused_connections},
    {{"tidelog_throttled_total", "counter", "shard", "delays of clients above their quotas"},
     &ShardMetrics::throttled},
    {{"tidelog_budget_waits_total", "counter", "shard",
      "requests that waited for memory before they were received"},
     &ShardMetrics::budget_waits},
    {{"tidelog_loop_turns_total", "counter", "shard", "turns of the event loop"},
     &ShardMetrics::loop_turns},
    {{"tidelog_stalled_turns_total", "counter", "shard",
      "turns of the event loop that took more than 5 ms"},
     &ShardMetrics::stalled_turns},
    {{"tidelog_malformed_frames_total", "counter", "shard",
      "connections closed because of a frame that cannot be read"},
     &ShardMetrics::malformed_frames},
    {{"tidelog_received_bytes_total", "counter", "shard", "received from clients, bytes"},
     &ShardMetrics::received_bytes},
    {{"tidelog_sent_bytes_total", "counter", "shard", "sent to clients, bytes"},
     &ShardMetrics::sent_bytes},
    {{"tidelog_produced_bytes_total", "counter", "shard", "record batches appended, bytes"},
     &ShardMetrics::produced_bytes},
    {{"tidelog_produced_batches_total", "counter", "shard", "record batches appended"},
     &ShardMetrics::produced_batches},
    {{"tidelog_produced_records_total", "counter", "shard", "records appended"},
     &ShardMetrics::produced_records},
    {{"tidelog_fetched_bytes_total", "counter", "shard",
      "record batches read for consumers, bytes"},
     &ShardMetrics::fetched_bytes},
    {{"tidelog_fetched_records_total", "counter", "shard", "records read for consumers"},
     &ShardMetrics::fetched_records},
    {{"tidelog_tail_reads_total", "counter", "shard", "reads answered from memory"},
     &ShardMetrics::tail_reads},
    {{"tidelog_cold_reads_total", "counter", "shard", "reads that needed the disk"},
     &ShardMetrics::cold_reads},
    {{"tidelog_journal_writes_total", "counter", "shard", "durable writes to the journal"},
     &ShardMetrics::journal_writes},
    {{"tidelog_journal_bytes_total", "counter", "shard", "written to the journal, bytes"},
     &ShardMetrics::journal_bytes},
    {{"tidelog_segment_writes_total", "counter", "shard", "writes to segment files"},
     &ShardMetrics::segment_writes},
    {{"tidelog_segment_bytes_total", "counter", "shard", "written to segment files, bytes"},
     &ShardMetrics::segment_bytes},
    {{"tidelog_disk_read_bytes_total", "counter", "shard", "asked of the disk by reads, bytes"},
     &ShardMetrics::disk_read_bytes},
    {{"tidelog_disk_errors_total", "counter", "shard",
      "writes, syncs and reads of the disk that failed, a full disk among them"},
     &ShardMetrics::disk_errors},
});

// Histograms over all shards.
struct LatencyFamily {
  MetricInfo info;
  LatencyHistogram ShardMetrics::* field;
};
constexpr auto kLatencyFamilies = std::to_array<LatencyFamily>({
    {{"tidelog_journal_write_seconds", "histogram", "",
      "a write to the journal until it is on stable storage, seconds"},
     &ShardMetrics::journal_write_latency},
    {{"tidelog_segment_write_seconds", "histogram", "",
      "a write to a segment, not synced, seconds"},
     &ShardMetrics::segment_write_latency},
    {{"tidelog_segment_sync_seconds", "histogram", "", "a sync of a segment, seconds"},
     &ShardMetrics::segment_sync_latency},
    {{"tidelog_disk_read_seconds", "histogram", "", "a read from the disk, seconds"},
     &ShardMetrics::disk_read_latency},
});

// Metrics that are one number of the whole broker.
struct BrokerFamily {
  MetricInfo info;
  double (*value)(const BrokerGauges&);
};
constexpr auto kBrokerFamilies = std::to_array<BrokerFamily>({
    {{"tidelog_buffer_bytes", "gauge", "", "pooled buffers in use, bytes"},
     [](const BrokerGauges& now) { return static_cast<double>(now.buffer_bytes_outstanding); }},
    {{"tidelog_log_lines_dropped_total", "counter", "",
      "lines of this broker's log lost to a full queue"},
     [](const BrokerGauges& now) { return static_cast<double>(now.log_lines_dropped); }},
    {{"tidelog_file_jobs_waiting", "gauge", "",
      "makings, removals and looks at files that wait for a thread"},
     [](const BrokerGauges& now) { return static_cast<double>(now.file_jobs_waiting); }},
    {{"tidelog_topic_changes", "gauge", "",
      "creations, deletions and changes of topics that are under way"},
     [](const BrokerGauges& now) { return static_cast<double>(now.topic_changes); }},
    {{"tidelog_ready", "gauge", "", "1 while /ready answers 200"},
     [](const BrokerGauges& now) { return now.ready ? 1.0 : 0.0; }},
    {{"tidelog_storage_sound", "gauge", "",
      "0 once a write or sync of the data directory has failed"},
     [](const BrokerGauges& now) { return now.storage_sound ? 1.0 : 0.0; }},
    {{"tidelog_data_file_system_bytes", "gauge", "",
      "size of the file system of the data directory, bytes"},
     [](const BrokerGauges& now) { return static_cast<double>(now.data.bytes); }},
    {{"tidelog_data_file_system_free_bytes", "gauge", "",
      "what is free of it for the broker, bytes"},
     [](const BrokerGauges& now) { return static_cast<double>(now.data.free_bytes); }},
    {{"process_cpu_seconds_total", "counter", "", "processor time used, seconds"},
     [](const BrokerGauges& now) { return now.process.cpu_seconds; }},
    {{"process_resident_memory_bytes", "gauge", "", "memory in use, bytes"},
     [](const BrokerGauges& now) { return static_cast<double>(now.process.resident_bytes); }},
    {{"process_open_fds", "gauge", "", "open files and sockets"},
     [](const BrokerGauges& now) { return static_cast<double>(now.process.open_files); }},
    {{"process_max_fds", "gauge", "", "open files and sockets allowed"},
     [](const BrokerGauges& now) { return static_cast<double>(now.process.open_files_max); }},
    {{"process_start_time_seconds", "gauge", "", "when the process started, seconds since 1970"},
     [](const BrokerGauges& now) { return now.process.start_time_seconds; }},
});

constexpr MetricInfo kRequestSeconds = {"tidelog_request_seconds", "histogram", "api",
                                        "from a request's last byte to its answer, seconds"};
constexpr MetricInfo kRequestErrors = {"tidelog_request_errors_total", "counter", "api",
                                       "requests answered with an error"};
constexpr MetricInfo kBudgetUsed = {"tidelog_budget_used_bytes", "gauge", "budget",
                                    "used of the memory for produce, fetch and control, bytes"};
constexpr MetricInfo kBudgetLimit = {"tidelog_budget_limit_bytes", "gauge", "budget",
                                     "above it the broker stops reading what fills it, bytes"};
constexpr MetricInfo kLogLines = {"tidelog_log_lines_total", "counter", "level",
                                  "lines of this broker's log, those lost among them"};
constexpr MetricInfo kStorage = {"tidelog_storage_info", "gauge", "durability, file_system, io",
                                 "always 1; what the storage promises and how it is written"};
constexpr MetricInfo kBuild = {"tidelog_build_info", "gauge", "version", "always 1"};

constexpr auto kTable = [] {
  const MetricInfo others[] = {kRequestSeconds, kRequestErrors, kBudgetUsed, kBudgetLimit,
                               kLogLines,       kStorage,       kBuild};
  std::array<MetricInfo, kShardFamilies.size() + kLatencyFamilies.size() + kBrokerFamilies.size() +
                             std::size(others)>
      table;
  auto at = std::ranges::transform(kShardFamilies, table.begin(), &ShardFamily::info).out;
  at = std::ranges::transform(kLatencyFamilies, at, &LatencyFamily::info).out;
  at = std::ranges::transform(kBrokerFamilies, at, &BrokerFamily::info).out;
  std::ranges::copy(others, at);
  return table;
}();

MetricFamily family_of(const MetricInfo& info) {
  MetricFamily family;
  family.name = info.name;
  family.help = info.meaning;
  family.type = info.type == "counter" ? MetricType::Counter
                : info.type == "gauge" ? MetricType::Gauge
                                       : MetricType::Histogram;
  return family;
}

void add_number(MetricFamily& family, std::vector<ClientMetric::Label> labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (family.type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family.metric.push_back(std::move(metric));
}

MetricFamily single(const MetricInfo& info, double value,
                    std::vector<ClientMetric::Label> labels = {}) {
  MetricFamily family = family_of(info);
  add_number(family, std::move(labels), value);
  return family;
}

// Over all shards; count and buckets come from the same loads, so that they agree. `latency_of`
// gives a shard's histogram.
template <typename LatencyOf>
ClientMetric sum_latency(const std::vector<std::unique_ptr<ShardMetrics>>& shards,
                         LatencyOf latency_of, std::vector<ClientMetric::Label> labels) {
  constexpr std::size_t kBuckets = LatencyHistogram::kUpperBoundsUs.size() + 1;
  std::array<std::uint64_t, kBuckets> counts{};
  std::uint64_t sum_us = 0;
  for (const auto& shard : shards) {
    const LatencyHistogram& latency = latency_of(*shard);
    for (std::size_t i = 0; i < kBuckets; ++i) counts[i] += latency.bucket(i);
    sum_us += latency.sum_us();
  }
  ClientMetric metric;
  metric.label = std::move(labels);
  ClientMetric::Histogram& histogram = metric.histogram;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    histogram.sample_count += counts[i];
    const double bound = i + 1 < kBuckets ? LatencyHistogram::kUpperBoundsUs[i] / kUsPerSecond
                                          : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({histogram.sample_count, bound});
  }
  histogram.sample_sum = static_cast<double>(sum_us) / kUsPerSecond;
  return metric;
}

void add_budgets(std::vector<MetricFamily>& families, const BrokerGauges& gauges) {
  MetricFamily used = family_of(kBudgetUsed);
  MetricFamily limit = family_of(kBudgetLimit);
  const auto add = [&](const char* name, const BudgetUse& use) {
    add_number(used, {{"budget", name}}, static_cast<double>(use.used_bytes));
    add_number(limit, {{"budget", name}}, static_cast<double>(use.limit_bytes));
  };
  add("produce", gauges.produce_budget);
  add("fetch", gauges.fetch_budget);
  add("control", gauges.control_budget);
  families.push_back(std::move(used));
  families.push_back(std::move(limit));
}

void add_log_lines(std::vector<MetricFamily>& families, const BrokerGauges& gauges) {
  constexpr std::array kLevels = {"debug", "info", "warning", "error"};
  MetricFamily family = family_of(kLogLines);
  for (std::size_t i = 0; i < kLevels.size(); ++i) {
    add_number(family, {{"level", kLevels[i]}}, static_cast<double>(gauges.log_lines[i]));
  }
  families.push_back(std::move(family));
}

}  // namespace

void LatencyHistogram::record(std::chrono::microseconds latency) {
  const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, latency.count()));
  const auto at = std::ranges::lower_bound(kUpperBoundsUs, us);
  buckets_[static_cast<std::size_t>(at - kUpperBoundsUs.begin())].add();
  sum_us_.add(us);
}

ShardMetrics::ShardMetrics() : requests_(wire::api_table().size()) {}

const RequestMetrics* ShardMetrics::request(std::uint16_t api_key) const {
  const auto apis = wire::api_table();
  const auto at = std::ranges::find(apis, static_cast<wire::ApiKey>(api_key), &wire::ApiInfo::key);
  if (at == apis.end()) return nullptr;
  return &requests_[static_cast<std::size_t>(at - apis.begin())];
}

RequestMetrics* ShardMetrics::request(std::uint16_t api_key) {
  return const_cast<RequestMetrics*>(std::as_const(*this).request(api_key));
}

void ShardMetrics::count_turn(std::chrono::microseconds took) {
  loop_turns.add();
  if (took > kStallTime) stalled_turns.add();
  const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0));
  if (us > longest_turn_us.value()) longest_turn_us.set(us);
}

std::span<const MetricInfo> metric_table() { return kTable; }

BrokerMetrics::BrokerMetrics(std::size_t shards, std::string version,
                             std::function<BrokerGauges()> gauges)
    : version_(std::move(version)), gauges_(std::move(gauges)) {
  TIDELOG_CHECK(gauges_ != nullptr, "a scrape asks for the broker's gauges");
  for (std::size_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<ShardMetrics>());
}

std::string BrokerMetrics::text() const {
  std::vector<MetricFamily> families;
  for (const ShardFamily& entry : kShardFamilies) {
    MetricFamily& family = families.emplace_back(family_of(entry.info));
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      add_number(family, {{"shard", std::to_string(i)}},
                 static_cast<double>(((*shards_[i]).*entry.field).value()));
    }
  }
  for (const LatencyFamily& entry : kLatencyFamilies) {
    const auto latency_of = [&entry](const ShardMetrics& shard) -> const LatencyHistogram& {
      return shard.*entry.field;
    };
    families.emplace_back(family_of(entry.info))
        .metric.push_back(sum_latency(shards_, latency_of, {}));
  }
  add_requests(families);

  const BrokerGauges gauges = gauges_();
  for (const BrokerFamily& entry : kBrokerFamilies) {
    families.push_back(single(entry.info, entry.value(gauges)));
  }
  add_budgets(families, gauges);
  add_log_lines(families, gauges);
  families.push_back(single(
      kStorage, 1,
      {{"durability", gauges.durability}, {"file_system", gauges.file_system}, {"io", gauges.io}}));
  families.push_back(single(kBuild, 1, {{"version", version_}}));

  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

void BrokerMetrics::add_requests(std::vector<MetricFamily>& families) const {
  MetricFamily seconds = family_of(kRequestSeconds);
  MetricFamily errors = family_of(kRequestErrors);
  for (const wire::ApiInfo& api : wire::api_table()) {
    const auto key = static_cast<std::uint16_t>(api.key);
    const ClientMetric::Label label{"api", std::string(api.name)};
    const auto latency_of = [key](const ShardMetrics& shard) -> const LatencyHistogram& {
      return shard.request(key)->latency;
    };
    seconds.metric.push_back(sum_latency(shards_, latency_of, {label}));
    std::uint64_t failed = 0;
    for (const auto& shard : shards_) failed += shard->request(key)->errors.value();
    add_number(errors, {label}, static_cast<double>(failed));
  }
  families.push_back(std::move(seconds));
  families.push_back(std::move(errors));
}

}  // namespace tidelog::broker
