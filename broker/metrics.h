// What a broker counts, and how it is shown to Prometheus.
//
// docs/metrics.md lists them all; tests hold it, and the dashboard, to metric_table().
//
// Each shard owns one ShardMetrics and is the only one that writes it, with plain relaxed stores:
// no locks, no contended cache lines. text() reads them from any thread; numbers of one scrape may
// be a few microseconds apart. Names and units: metric_table().
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/process_stats.h"
#include "wire/frame.h"

namespace prometheus {
struct MetricFamily;
}

namespace tidelog::broker {

// A number with one writer. Thread: add() and set() one; value() any.
class Metric {
 public:
  void add(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  // REQUIRES: count <= value().
  void subtract(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - count, std::memory_order_relaxed);
  }
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// How long something took, in buckets of 1-2-5 steps from 20 µs to 10 s. Thread: as Metric.
class LatencyHistogram {
 public:
  static constexpr std::array<std::uint32_t, 18> kUpperBoundsUs = {
      20,     50,     100,     200,     500,     1'000,     2'000,     5'000,     10'000,
      20'000, 50'000, 100'000, 200'000, 500'000, 1'000'000, 2'000'000, 5'000'000, 10'000'000};

  void record(std::chrono::microseconds latency);

  // Of one bucket (not cumulative); index kUpperBoundsUs.size() holds what took longer than all.
  std::uint64_t bucket(std::size_t index) const { return buckets_[index].value(); }
  std::uint64_t sum_us() const { return sum_us_.value(); }

 private:
  std::array<Metric, kUpperBoundsUs.size() + 1> buckets_;
  Metric sum_us_;
};

struct RequestMetrics {
  Metric errors;  // answered with an error
  LatencyHistogram latency;
};

// What one shard counts. Names as in metric_table().
struct alignas(64) ShardMetrics {
  ShardMetrics();
  ShardMetrics(const ShardMetrics&) = delete;
  ShardMetrics& operator=(const ShardMetrics&) = delete;

  // A turn of the event loop took so long; one above kStallTime holds up every connection of its
  // shard and is counted apart.
  static constexpr std::chrono::microseconds kStallTime{5000};
  void count_turn(std::chrono::microseconds took);

  // Null for the key of an API that this version does not know.
  RequestMetrics* request(std::uint16_t api_key);
  const RequestMetrics* request(std::uint16_t api_key) const;

  // Present values.
  Metric connections;
  Metric partitions;
  Metric fetch_readers;
  Metric longest_turn_us;
  Metric tail_cache_bytes;
  Metric open_segments;
  Metric storage_full;     // 1: records are refused
  Metric undurable_bytes;  // appended, not yet on stable storage
  Metric lossy_partitions;
  Metric damaged_ranges;  // found by readers since the start
  Metric requests_in_flight;
  Metric fetch_sessions;
  Metric disk_operations_in_flight;
  // Ever growing.
  Metric accepted_connections;
  Metric moved_connections;
  Metric refused_connections;
  Metric throttled;
  Metric budget_waits;
  Metric loop_turns;
  Metric stalled_turns;
  Metric malformed_frames;
  Metric received_bytes;
  Metric sent_bytes;
  Metric produced_bytes;
  Metric produced_batches;
  Metric produced_records;
  Metric fetched_bytes;
  Metric fetched_records;
  Metric tail_reads;
  Metric cold_reads;
  Metric journal_writes;
  Metric journal_bytes;
  Metric segment_writes;
  Metric segment_bytes;
  Metric disk_read_bytes;
  Metric disk_errors;
  LatencyHistogram journal_write_latency;
  LatencyHistogram segment_write_latency;
  LatencyHistogram segment_sync_latency;
  LatencyHistogram disk_read_latency;

 private:
  std::vector<RequestMetrics> requests_;  // in the order of wire::api_table()
};

struct BudgetUse {
  std::uint64_t used_bytes = 0;
  std::uint64_t limit_bytes = 0;
};

// What holds for the whole broker at the moment of a scrape.
struct BrokerGauges {
  std::uint64_t buffer_bytes_outstanding = 0;
  BudgetUse produce_budget;
  BudgetUse fetch_budget;
  BudgetUse control_budget;
  std::string durability;   // "stable", "weaker", "not_stable", "network"
  std::string file_system;  // "ext4"
  std::string io;           // "io_uring, O_DIRECT + RWF_DSYNC"
  DirectorySpace data;
  ProcessStats process;
  std::array<std::uint64_t, 4> log_lines{};  // debug, info, warning, error
  std::uint64_t log_lines_dropped = 0;
  std::uint64_t file_jobs_waiting = 0;
  std::uint64_t topic_changes = 0;
  bool ready = false;
  bool storage_sound = true;  // false once a write or sync has failed
};

struct MetricInfo {
  std::string_view name;
  std::string_view type;  // counter, gauge, histogram
  std::string_view labels;
  std::string_view meaning;  // with the unit
};
// Every metric that text() shows, in its order.
std::span<const MetricInfo> metric_table();

class BrokerMetrics {
 public:
  // `gauges` is asked at each scrape, on the thread that calls text().
  BrokerMetrics(std::size_t shards, std::string version, std::function<BrokerGauges()> gauges);

  std::size_t shard_count() const { return shards_.size(); }
  // REQUIRES: index < shard_count(). The shard's own, for as long as this lives.
  ShardMetrics& shard(std::size_t index) { return *shards_[index]; }

  // Everything in the Prometheus text format, version 0.0.4. Thread: any.
  std::string text() const;

 private:
  void add_requests(std::vector<prometheus::MetricFamily>& families) const;

  std::vector<std::unique_ptr<ShardMetrics>> shards_;
  std::string version_;
  std::function<BrokerGauges()> gauges_;
};

}  // namespace tidelog::broker
