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
    {{"tidelog_storage_free_bytes", "gauge", "shard",
      "free space of the data directory's disk, as each shard last saw it, bytes"},
     &ShardMetrics::storage_free_bytes},
    {{"tidelog_storage_full", "gauge", "shard", "1 while records are refused for want of space"},
     &ShardMetrics::storage_full},
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
    {{"tidelog_produced_bytes_total", "counter", "shard", "record batches appended, bytes"},
     &ShardMetrics::produced_bytes},
    {{"tidelog_produced_batches_total", "counter", "shard", "record batches appended"},
     &ShardMetrics::produced_batches},
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
});

constexpr MetricInfo kRequestSeconds = {"tidelog_request_seconds", "histogram", "api",
                                        "from a request's last byte to its answer, seconds"};
constexpr MetricInfo kRequestErrors = {"tidelog_request_errors_total", "counter", "api",
                                       "requests answered with an error"};
constexpr MetricInfo kBufferBytes = {"tidelog_buffer_bytes", "gauge", "",
                                     "pooled buffers in use, bytes"};
constexpr MetricInfo kMemoryUsed = {"tidelog_memory_used_bytes", "gauge", "budget",
                                    "used of the memory for produce, fetch and control, bytes"};
constexpr MetricInfo kDroppedLines = {"tidelog_log_lines_dropped_total", "counter", "",
                                      "lines of this broker's log lost to a full queue"};
constexpr MetricInfo kReady = {"tidelog_ready", "gauge", "", "1 while /ready answers 200"};
constexpr MetricInfo kStorageSound = {"tidelog_storage_sound", "gauge", "",
                                      "0 once a write or sync of the data directory has failed"};
constexpr MetricInfo kStorage = {
    "tidelog_storage_info", "gauge", "file_system, durability",
    "always 1; durability: stable, weaker (a power cut may need a repair), not stable, network"};
constexpr MetricInfo kBuild = {"tidelog_build_info", "gauge", "version", "always 1"};

constexpr auto kTable = [] {
  std::array<MetricInfo, kShardFamilies.size() + 9> table;
  std::ranges::transform(kShardFamilies, table.begin(), &ShardFamily::info);
  const MetricInfo others[] = {kRequestSeconds, kRequestErrors, kBufferBytes,
                               kMemoryUsed,     kDroppedLines,  kReady,
                               kStorageSound,   kStorage,       kBuild};
  std::ranges::copy(others, table.begin() + kShardFamilies.size());
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

// Over all shards; count and buckets come from the same loads, so that they agree.
ClientMetric::Histogram sum_latency(const std::vector<std::unique_ptr<ShardMetrics>>& shards,
                                    std::uint16_t api_key) {
  constexpr std::size_t kBuckets = LatencyHistogram::kUpperBoundsUs.size() + 1;
  std::array<std::uint64_t, kBuckets> counts{};
  std::uint64_t sum_us = 0;
  for (const auto& shard : shards) {
    const LatencyHistogram& latency = shard->request(api_key)->latency;
    for (std::size_t i = 0; i < kBuckets; ++i) counts[i] += latency.bucket(i);
    sum_us += latency.sum_us();
  }
  ClientMetric::Histogram histogram;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    histogram.sample_count += counts[i];
    const double bound = i + 1 < kBuckets ? LatencyHistogram::kUpperBoundsUs[i] / kUsPerSecond
                                          : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({histogram.sample_count, bound});
  }
  histogram.sample_sum = static_cast<double>(sum_us) / kUsPerSecond;
  return histogram;
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
  MetricFamily seconds = family_of(kRequestSeconds);
  MetricFamily errors = family_of(kRequestErrors);
  for (const wire::ApiInfo& api : wire::api_table()) {
    const auto key = static_cast<std::uint16_t>(api.key);
    const ClientMetric::Label label{"api", std::string(api.name)};
    ClientMetric latency;
    latency.label = {label};
    latency.histogram = sum_latency(shards_, key);
    seconds.metric.push_back(std::move(latency));
    std::uint64_t failed = 0;
    for (const auto& shard : shards_) failed += shard->request(key)->errors.value();
    add_number(errors, {label}, static_cast<double>(failed));
  }
  families.push_back(std::move(seconds));
  families.push_back(std::move(errors));

  const BrokerGauges gauges = gauges_();
  families.push_back(single(kBufferBytes, static_cast<double>(gauges.buffer_bytes_outstanding)));
  MetricFamily memory = family_of(kMemoryUsed);
  const auto add_memory = [&memory](const char* budget, std::uint64_t bytes) {
    add_number(memory, {{"budget", budget}}, static_cast<double>(bytes));
  };
  add_memory("produce", gauges.produce_memory_bytes);
  add_memory("fetch", gauges.fetch_memory_bytes);
  add_memory("control", gauges.control_memory_bytes);
  families.push_back(std::move(memory));
  families.push_back(single(kDroppedLines, static_cast<double>(gauges.log_lines_dropped)));
  families.push_back(single(kReady, gauges.ready ? 1 : 0));
  families.push_back(single(kStorageSound, gauges.storage_sound ? 1 : 0));
  families.push_back(single(
      kStorage, 1, {{"file_system", gauges.file_system}, {"durability", gauges.durability}}));
  families.push_back(single(kBuild, 1, {{"version", version_}}));

  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace tidelog::broker
