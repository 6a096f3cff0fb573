// tidelog_load: what a broker does under load of the client library. Prints one JSON object.
//   produce   closed loop: as many records as the producer's buffer takes
//   latency   one record in flight: the unloaded acknowledgement
//   consume   from the start to the end taken at the beginning
#include <fmt/format.h>
#include <sys/resource.h>
#include <tidelog/tidelog.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "bench/load/histogram.h"

namespace tidelog::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
  std::string brokers = "127.0.0.1:9700";
  std::string topic = "bench";
  std::int64_t records = 1'000'000;
  std::size_t record_bytes = 1024;
  std::int32_t partitions = 1;
  std::size_t batch_bytes = 256 * 1024;
  int linger_ms = 5;
  int in_flight = 5;
};

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

[[noreturn]] void fail(const client::Error& error) {
  fmt::print(stderr, "tidelog_load: {}\n", error.to_string());
  std::exit(1);
}

void print_result(std::int64_t records, std::size_t record_bytes, double seconds, double cpu,
                  std::uint64_t errors, const std::string& latency) {
  const double megabytes = static_cast<double>(records) * static_cast<double>(record_bytes) / 1e6;
  fmt::print(
      R"({{"records": {}, "record_bytes": {}, "seconds": {:.3f}, "records_s": {:.0f}, "mb_s": {:.1f}, )"
      R"("errors": {}, "client_cpu_s_per_gb": {:.2f}, "latency_us": {}}})"
      "\n",
      records, record_bytes, seconds, static_cast<double>(records) / seconds, megabytes / seconds,
      errors, cpu / (megabytes / 1e3), latency);
}

client::ProducerOptions producer_options(const Options& options) {
  client::ProducerOptions result;
  result.connect.brokers = {options.brokers};
  result.batch_bytes_max = options.batch_bytes;
  result.linger = std::chrono::milliseconds(options.linger_ms);
  result.in_flight_max = options.in_flight;
  return result;
}

int produce(const Options& options) {
  client::Producer producer(producer_options(options));
  const std::string value(options.record_bytes, 'v');
  std::atomic<std::uint64_t> errors{0};
  const auto callback = [&errors](const client::Result<client::Delivery>& delivery) {
    if (!delivery.ok()) errors.fetch_add(1, std::memory_order_relaxed);
  };
  const double cpu = cpu_seconds();
  const auto start = SteadyClock::now();
  for (std::int64_t i = 0; i < options.records; ++i) {
    client::Record record{.topic = options.topic, .value = value};
    // Round robin, so that every partition is loaded alike whatever the partitioner does.
    record.partition = static_cast<std::int32_t>(i % options.partitions);
    producer.produce(std::move(record), callback);
  }
  if (!producer.flush(std::chrono::minutes(2))) {
    fmt::print(stderr, "tidelog_load: records were still unsettled after two minutes\n");
    return 1;
  }
  print_result(options.records, options.record_bytes, seconds_since(start), cpu_seconds() - cpu,
               errors.load(), "null");
  return errors.load() == 0 ? 0 : 1;
}

int latency(const Options& options) {
  Options single = options;
  single.linger_ms = 0;
  client::Producer producer(producer_options(single));
  const std::string value(options.record_bytes, 'v');
  Latencies latencies;
  const std::int64_t warm_up = options.records / 10 + 1;
  const double cpu = cpu_seconds();
  auto start = SteadyClock::now();
  for (std::int64_t i = -warm_up; i < options.records; ++i) {
    if (i == 0) start = SteadyClock::now();
    const auto sent = SteadyClock::now();
    auto delivery =
        producer.produce({.topic = options.topic, .value = value, .partition = 0}).get();
    if (!delivery.ok()) fail(delivery.error());
    if (i >= 0) latencies.add(seconds_since(sent) * 1e6);
  }
  print_result(options.records, options.record_bytes, seconds_since(start), cpu_seconds() - cpu, 0,
               latencies.to_json());
  return 0;
}

int consume(const Options& options) {
  client::Admin admin({.brokers = {options.brokers}});
  auto topic = admin.describe_topic(options.topic);
  if (!topic.ok()) fail(topic.error());
  client::ConsumerOptions consumer_options;
  consumer_options.connect.brokers = {options.brokers};
  client::Consumer consumer(consumer_options);
  std::vector<client::Assignment> assignments;
  std::int64_t wanted = 0;
  for (const client::PartitionDescription& partition : topic->partitions) {
    assignments.push_back({options.topic, partition.partition, client::Position::start()});
    wanted += partition.high_watermark - partition.start_offset;
  }
  const double cpu = cpu_seconds();
  const auto start = SteadyClock::now();
  if (auto assigned = consumer.assign(std::move(assignments)); !assigned.ok()) {
    fail(assigned.error());
  }
  std::int64_t records = 0;
  std::size_t bytes = 0;
  while (records < wanted) {
    const client::ConsumedRecords polled = consumer.poll(std::chrono::seconds(30));
    if (!polled.errors.empty()) fail(polled.errors.front().error);
    if (polled.empty()) {
      fmt::print(stderr, "tidelog_load: no record for 30 s, {} of {} read\n", records, wanted);
      return 1;
    }
    for (const client::ConsumedRecord& record : polled.records) {
      bytes += record.value ? record.value->size() : 0;
    }
    records += static_cast<std::int64_t>(polled.records.size());
  }
  print_result(records, records > 0 ? bytes / static_cast<std::size_t>(records) : 0,
               seconds_since(start), cpu_seconds() - cpu, 0, "null");
  return 0;
}

}  // namespace
}  // namespace tidelog::bench

int main(int argc, char** argv) {
  tidelog::bench::Options options;
  CLI::App app{"Loads a Tidelog broker through the client library; prints JSON"};
  app.add_option("-b,--brokers", options.brokers, "HOST:PORT")->capture_default_str();
  app.add_option("--topic", options.topic, "existing topic")->capture_default_str();
  app.add_option("--records", options.records)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--record-size", options.record_bytes, "bytes of a value")->capture_default_str();
  app.add_option("--partitions", options.partitions, "of the topic")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--batch-size", options.batch_bytes, "bytes")->capture_default_str();
  app.add_option("--linger-ms", options.linger_ms)->capture_default_str();
  app.add_option("--in-flight", options.in_flight, "produce requests per partition")
      ->capture_default_str();
  app.require_subcommand(1);
  const auto* produce = app.add_subcommand("produce", "closed loop")->fallthrough();
  const auto* latency = app.add_subcommand("latency", "one record in flight")->fallthrough();
  app.add_subcommand("consume", "from start to end")->fallthrough();
  CLI11_PARSE(app, argc, argv);
  if (*produce) return tidelog::bench::produce(options);
  if (*latency) return tidelog::bench::latency(options);
  return tidelog::bench::consume(options);
}
