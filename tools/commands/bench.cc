// tidelog bench: how fast brokers take and give records.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tools/bench/broker_usage.h"
#include "tools/bench/load.h"
#include "tools/bench/payloads.h"
#include "tools/bench/report.h"
#include "tools/cluster_access.h"
#include "tools/commands/commands.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/producer_words.h"
#include "tools/quantity.h"

namespace tidelog::tools {
namespace {

constexpr std::chrono::milliseconds kMonitorInterval{200};

struct BenchOptions {
  ClusterFlags cluster;
  std::string topic = "bench";
  std::int64_t records = 1'000'000;
  std::size_t record_bytes = 1024;
  double rate = 0;
  int connections = 1;
  std::optional<std::int32_t> partitions;
  std::size_t batch_bytes = 256 * 1024;
  std::int64_t linger_ms = 5;
  int in_flight = 5;
  std::int64_t outstanding = 0;
  int consumers = 0;
  std::string acks = "all";
  std::string compression = "none";
  bool is_fan_out = false;
  bool is_json = false;
};

// Two threads and some megabytes each.
constexpr int kConnectionsMax = 1000;
// Eight bytes of memory each.
constexpr std::int64_t kClockedRecordsMax = 50'000'000;

// Where all clients of a bench say what troubles them, and what they reach.
struct Surroundings {
  Messages messages;
  OutageNotice notice;
  client::ConnectOptions connect;

  explicit Surroundings(const BenchOptions& options)
      : messages(options.cluster.is_quiet), notice(messages) {}
};

Result<std::unique_ptr<Surroundings>> look_around(const BenchOptions& options) {
  auto around = std::make_unique<Surroundings>(options);
  TIDELOG_ASSIGN(around->connect, connect_options(options.cluster, &around->notice));
  around->connect.client_name = "tidelog-bench";
  return around;
}

// The admin pages of all brokers. Nothing, behind a note, where one has none.
std::vector<std::string> admin_pages(client::Admin& admin, Messages& messages) {
  std::vector<std::string> pages;
  const auto status = admin.cluster_status();
  if (!status) return pages;
  for (const client::BrokerStatus& broker : status->brokers) {
    if (broker.admin.empty()) {
      messages.note(
          fmt::format("broker {} has no admin page: what it uses stays unknown", broker.id));
      return {};
    }
    pages.push_back(broker.admin);
  }
  return pages;
}

// What the brokers used between two looks at their metrics.
class UsageMeter {
 public:
  UsageMeter(client::Admin& admin, Messages& messages)
      : messages_(messages), pages_(admin_pages(admin, messages)), before_(look()) {}

  std::optional<BrokerUsage> used() {
    if (!before_) return std::nullopt;
    std::optional<BrokerUsage> now = look();
    if (!now) return std::nullopt;
    // A broker that restarted counts from zero: nothing sound can be said then.
    if (now->cpu_s < before_->cpu_s || now->written_bytes < before_->written_bytes) {
      messages_.note("a broker restarted meanwhile: what it used stays unknown");
      return std::nullopt;
    }
    now->cpu_s -= before_->cpu_s;
    now->written_bytes -= before_->written_bytes;
    return now;
  }

 private:
  std::optional<BrokerUsage> look() {
    if (pages_.empty()) return std::nullopt;
    auto usage = ask_usage(pages_);
    if (usage) return *usage;
    messages_.note(fmt::format("{}: what the brokers use stays unknown", usage.error().message()));
    return std::nullopt;
  }

  Messages& messages_;
  std::vector<std::string> pages_;
  std::optional<BrokerUsage> before_;
};

// Runs the load, with progress on a terminal.
Result<LoadResult> watched(Messages& messages, std::string_view verb,
                           const std::function<Result<LoadResult>(LoadProgress&)>& run) {
  LoadProgress progress;
  std::atomic<bool> has_ended = false;
  const auto begin = std::chrono::steady_clock::now();
  std::thread monitor([&] {
    while (!has_ended) {
      std::this_thread::sleep_for(kMonitorInterval / 4);
      if (!messages.wants_progress()) continue;
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      const auto records = static_cast<std::uint64_t>(progress.records.load());
      const double per_s = static_cast<double>(records) / seconds.count();
      messages.progress(fmt::format("{} {}, {}/s", verb, counted(records, "record"),
                                    with_commas(static_cast<std::uint64_t>(per_s))));
    }
  });
  auto result = run(progress);
  has_ended = true;
  monitor.join();
  messages.clear_progress();
  return result;
}

// Prints, and chooses the exit code.
Result<int> conclude(const BenchOptions& options, const Report& report, Messages& messages) {
  Output out(STDOUT_FILENO);
  out.text() = options.is_json ? report.as_json() : report.in_words();
  TIDELOG_TRY(out.flush());
  const LoadResult& result = report.result;
  if (result.errors > 0) {
    messages.failure(fmt::format("tidelog: {} failed; the first: {}",
                                 counted(result.errors, "operation"),
                                 in_words(*result.first_error)));
  }
  if (interrupt_event().is_set()) return interrupt_exit_code();
  return result.errors == 0 ? kExitDone : kExitFailed;
}

// The topic, made where it is missing; nullopt after a message.
std::optional<client::TopicDescription> topic_for(client::Admin& admin, const BenchOptions& options,
                                                  Messages& messages) {
  const auto created =
      admin.create_topic({.name = options.topic, .partitions = options.partitions.value_or(0)});
  if (created) {
    messages.note(fmt::format("created topic '{}'; 'tidelog topic delete {}' removes it",
                              options.topic, options.topic));
  } else if (created.error().code != static_cast<std::uint16_t>(ErrorCode::kTopicExists)) {
    messages.failure(fmt::format("tidelog: {}", in_words(created.error())));
    return std::nullopt;
  }
  auto topic = find_topic(admin, options.topic, messages);
  if (!topic) return std::nullopt;
  const auto partitions = static_cast<std::int32_t>(topic->partitions.size());
  if (options.partitions && *options.partitions != partitions) {
    messages.failure(fmt::format(
        "tidelog: topic '{}' has {}, not {}; leave --partitions out, or name another topic",
        options.topic, counted(topic->partitions.size(), "partition"), *options.partitions));
    return std::nullopt;
  }
  return topic;
}

Result<int> bench_produce(const BenchOptions& options) {
  ProduceLoad load{.topic = options.topic,
                   .records = options.records,
                   .record_bytes = options.record_bytes,
                   .rate = options.rate,
                   .connections = options.connections,
                   .outstanding_max = options.outstanding,
                   .tail_consumers = options.consumers,
                   .producer = {}};
  TIDELOG_ASSIGN(load.producer.acks, parse_acks(options.acks));
  TIDELOG_TRY(parse_compression(options.compression, load.producer));
  if (load.tail_consumers > 0 && load.record_bytes < Payloads::kStampBytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--consumers needs a --record-size of {} at least: consumers know "
                            "records again by what is in them",
                            Payloads::kStampBytes));
  }
  if (load.tail_consumers > 0 && load.records > kClockedRecordsMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--consumers takes {} --records at most: when each was sent is kept",
                            kClockedRecordsMax));
  }
  TIDELOG_ASSIGN(const auto around, look_around(options));
  load.producer.connect = around->connect;
  load.producer.batch_bytes_max = options.batch_bytes;
  load.producer.linger = std::chrono::milliseconds(options.linger_ms);
  load.producer.in_flight_max = options.in_flight;
  interrupt_event();
  client::Admin admin(around->connect);
  const auto topic = topic_for(admin, options, around->messages);
  if (!topic) return kExitFailed;
  load.partitions = static_cast<std::int32_t>(topic->partitions.size());
  UsageMeter meter(admin, around->messages);
  TIDELOG_ASSIGN(auto result,
                 watched(around->messages, "acknowledged", [&load](LoadProgress& progress) {
                   return run_produce_load(load, interrupt_event(), progress);
                 }));
  const Report report{
      .verb = "produced", .rate = options.rate, .result = std::move(result), .usage = meter.used()};
  return conclude(options, report, around->messages);
}

Result<int> bench_consume(const BenchOptions& options) {
  TIDELOG_ASSIGN(const auto around, look_around(options));
  interrupt_event();
  client::Admin admin(around->connect);
  auto topic = find_topic(admin, options.topic, around->messages);
  if (!topic) return kExitFailed;
  std::int64_t records = 0;
  for (const client::PartitionDescription& one : topic->partitions) {
    if (!one.problem.empty()) {
      around->messages.failure(fmt::format("tidelog: partition {} of topic '{}' cannot be read: {}",
                                           one.partition, options.topic, one.problem));
      return kExitFailed;
    }
    records += one.high_watermark - one.start_offset;
  }
  if (records == 0) {
    around->messages.failure(fmt::format(
        "tidelog: topic '{0}' is empty; fill it with: tidelog bench produce --topic {0}",
        options.topic));
    return kExitFailed;
  }
  ConsumeLoad load{.topic = std::move(*topic),
                   .records_max = options.records,
                   .connections = options.connections,
                   .is_fan_out = options.is_fan_out,
                   .consumer = {}};
  load.consumer.connect = around->connect;
  UsageMeter meter(admin, around->messages);
  TIDELOG_ASSIGN(auto result, watched(around->messages, "read", [&load](LoadProgress& progress) {
                   return run_consume_load(load, interrupt_event(), progress);
                 }));
  const Report report{.verb = "consumed", .result = std::move(result), .usage = meter.used()};
  return conclude(options, report, around->messages);
}

void add_common_options(CLI::App& command, BenchOptions& options) {
  command.add_option("-t,--topic", options.topic, "Topic")
      ->type_name("TOPIC")
      ->capture_default_str();
  command.add_option("--connections", options.connections, "Clients, with threads of their own")
      ->check(CLI::Range(1, kConnectionsMax).description(""))
      ->capture_default_str();
  command.add_flag("--json", options.is_json, "Print JSON");
  options.cluster.add_to(command);
}

void add_produce_options(CLI::App& command, BenchOptions& options) {
  const auto at_least = [](std::int64_t least) {
    return CLI::Range(least, std::int64_t{1'000'000'000'000}).description("");
  };
  command.add_option("-n,--records", options.records, "Records to send")
      ->check(at_least(1))
      ->capture_default_str();
  command.add_option("--record-size", options.record_bytes, "Bytes of a record's value")
      ->check(CLI::Range(std::size_t{0}, std::size_t{64} * 1024 * 1024).description(""))
      ->capture_default_str();
  command
      .add_option("--rate", options.rate,
                  "Records a second, sent when they are due however slow answers are (0: the next "
                  "as soon as there is room)")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->capture_default_str();
  command
      .add_option("-p,--partitions", options.partitions,
                  "Of the topic, which is made where it is missing; records go to them in turn")
      ->check(CLI::Range(1, 1'000'000).description(""));
  command.add_option("--batch-size", options.batch_bytes, "Bytes of a batch, at most")
      ->check(CLI::Range(std::size_t{1}, std::size_t{64} * 1024 * 1024).description(""))
      ->capture_default_str();
  command.add_option("--linger-ms", options.linger_ms, "How long a batch waits for more records")
      ->check(CLI::Range(0, 60'000).description(""))
      ->capture_default_str();
  command.add_option("--in-flight", options.in_flight, "Requests in flight for each partition")
      ->check(CLI::Range(1, 10'000).description(""))
      ->capture_default_str();
  command
      .add_option("--outstanding", options.outstanding,
                  "Unacknowledged records of each client (0: as many as its buffer takes)")
      ->check(at_least(0))
      ->capture_default_str();
  command
      .add_option("--consumers", options.consumers,
                  "Consumers that read along; how long records take to them is shown, too")
      ->check(CLI::Range(0, kConnectionsMax).description(""))
      ->capture_default_str();
  command.add_option("--acks", options.acks, "Who must have a record")
      ->type_name("all|leader|none")
      ->capture_default_str();
  command.add_option("-z,--compression", options.compression, "A level may follow, such as zstd:9")
      ->type_name("none|gzip|snappy|lz4|zstd")
      ->capture_default_str();
}

}  // namespace

void add_bench_commands(CommandLine& line) {
  CLI::App* bench =
      line.add_command(line.root(), "bench", "Measure how fast brokers take and give records",
                       "  tidelog bench produce --partitions 16\n"
                       "  tidelog bench consume\n"
                       "  tidelog bench latency --json",
                       nullptr);
  bench->require_subcommand(1);

  const auto produce = std::make_shared<BenchOptions>();
  CLI::App* command = line.add_command(
      *bench, "produce", "Send records, and measure throughput and acknowledgement",
      "  tidelog bench produce --partitions 16 --connections 4\n"
      "  tidelog bench produce --rate 50000 --record-size 100 --records 1000000 --json\n"
      "A latency counts from when a record was due (without --rate: from when it was handed over,\n"
      "with the wait for room in the buffer) to its acknowledgement. Without --rate the broker is\n"
      "saturated, and latencies tell how much is waiting, not how fast an answer can be.",
      [produce] { return bench_produce(*produce); });
  add_produce_options(*command, *produce);
  add_common_options(*command, *produce);

  const auto latency = std::make_shared<BenchOptions>();
  latency->records = 10'000;
  latency->linger_ms = 0;
  latency->outstanding = 1;
  command = line.add_command(*bench, "latency",
                             "Send one record at a time, and measure how long it takes",
                             "  tidelog bench latency\n"
                             "  tidelog bench latency --consumers 1 --record-size 100\n"
                             "As 'bench produce' with --outstanding 1 and --linger-ms 0.",
                             [latency] { return bench_produce(*latency); });
  add_produce_options(*command, *latency);
  add_common_options(*command, *latency);

  const auto consume = std::make_shared<BenchOptions>();
  consume->records = 0;
  command = line.add_command(*bench, "consume",
                             "Read a topic from its start to its end, and measure throughput",
                             "  tidelog bench consume --topic bench\n"
                             "  tidelog bench consume --connections 10 --fan-out --json\n"
                             "Every checksum is checked, as by any consumer.",
                             [consume] { return bench_consume(*consume); });
  command->add_option("-n,--records", consume->records, "Records to read in all (0: all there are)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000'000}).description(""))
      ->capture_default_str();
  command->add_flag("--fan-out", consume->is_fan_out,
                    "Every client reads all partitions, instead of its share of them");
  add_common_options(*command, *consume);
}

}  // namespace tidelog::tools
