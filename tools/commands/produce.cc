// tidelog produce: records from standard input or files into a topic.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tools/cluster_access.h"
#include "tools/commands/commands.h"
#include "tools/delivery_ledger.h"
#include "tools/input_plan.h"
#include "tools/interrupt.h"
#include "tools/json_text.h"
#include "tools/output.h"
#include "tools/producer_words.h"
#include "tools/quantity.h"
#include "tools/record_source.h"
#include "tools/time_text.h"
#include "wire/limits.h"

namespace tidelog::tools {
namespace {

using Clock = std::chrono::steady_clock;

// How long Ctrl-C leaves for what was accepted to be acknowledged.
constexpr std::chrono::seconds kInterruptDeadline{5};
constexpr std::chrono::milliseconds kMonitorInterval{200};

struct ProduceOptions {
  ClusterFlags cluster;
  std::string topic_flag;
  std::vector<std::string> words;  // TOPIC [FILE...], or files with -t
  InputFlags input;
  std::string compression = "none";
  std::string acks = "all";
  std::optional<std::string> output_format;
  std::string delivery_timeout = "2m";
  bool creates_topic = false;
  std::int32_t partitions = 0;  // of a topic that is created; 0: the broker's default
};

bool reads_standard_input(const RecordSourceOptions& source) {
  return source.files.empty() || std::ranges::find(source.files, "-") != source.files.end();
}

// What the options mean, checked before anything is opened.
struct ProducePlan {
  std::string topic;
  RecordSourceOptions source;
  std::optional<Format> output_format;
  client::ProducerOptions producer;
  bool is_typed = false;  // a person at a terminal writes the records
};

std::unexpected<Error> misuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

Result<ProducePlan> make_plan(const ProduceOptions& options) {
  ProducePlan plan;
  std::vector<std::string> words = options.words;
  plan.topic = options.topic_flag;
  if (plan.topic.empty()) {
    if (words.empty()) return misuse("name a topic: tidelog produce TOPIC [FILE...]");
    plan.topic = words.front();
    words.erase(words.begin());
  }
  if (plan.topic.empty()) return misuse("the topic's name is empty");
  if (options.partitions != 0 && !options.creates_topic) {
    return misuse("--partitions says how many a topic that --create makes has; -p chooses one");
  }
  if (options.creates_topic && options.input.keeps_partition && options.partitions == 0) {
    return misuse(
        "--create with --keep-partition needs --partitions N: as many as the topic that "
        "is copied has");
  }
  TIDELOG_ASSIGN(plan.source, plan_input(options.input, plan.topic, std::move(words)));
  plan.is_typed = reads_standard_input(plan.source) && isatty(STDIN_FILENO) == 1;
  if (options.output_format) {
    TIDELOG_ASSIGN(plan.output_format,
                   of_flag("--output-format", Format::parse(*options.output_format)));
    plan.output_format->end_with_newline();
  }
  TIDELOG_TRY(parse_compression(options.compression, plan.producer));
  TIDELOG_ASSIGN(plan.producer.acks, parse_acks(options.acks));
  if (plan.producer.acks == client::Acks::kNone && plan.output_format) {
    return misuse("-o prints what is acknowledged, and with --acks none nothing is; use one");
  }
  TIDELOG_ASSIGN(plan.producer.delivery_timeout,
                 of_flag("--delivery-timeout", parse_duration(options.delivery_timeout)));
  return plan;
}

// One run of produce, from the first record to the last acknowledgement.
class ProduceRun {
 public:
  ProduceRun(ProducePlan plan, AcknowledgementPrinter* printer, Messages& messages,
             OutageNotice& notice)
      : printer_(printer),
        messages_(messages),
        notice_(notice),
        is_typed_(plan.is_typed),
        ledger_(printer, plan.source.base.partition.has_value()),
        producer_(plan.producer),
        begin_(Clock::now()) {}

  // Fails with what made reading the input end early; what was read before is still delivered.
  Result<> run(RecordSource& source) {
    std::thread monitor([this] { watch(); });
    const auto read =
        source.run(stop_.fd(), [this](client::Record record) { return send(std::move(record)); });
    while (!is_interrupted() && !producer_.flush(kMonitorInterval)) {
    }
    producer_.close(kInterruptDeadline);
    finished_.set();
    monitor.join();
    messages_.clear_progress();
    if (!read) return fail(read.error());
    left_unread_ = !*read;
    return {};
  }
  // A failure, or Ctrl-C, ended the run before its input did.
  bool has_left_unread() const { return left_unread_; }
  std::uint64_t sent() const { return sent_; }

  const DeliveryLedger& ledger() const { return ledger_; }
  std::uint64_t bytes() const { return producer_.statistics().bytes_acknowledged; }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  static bool is_interrupted() { return interrupt_event().is_set(); }

  bool send(client::Record record) {
    if (stop_.is_set()) return false;
    ++sent_;
    if (printer_ != nullptr) printer_->wait_for_room();
    if (printer_ != nullptr && printer_->needs_contents()) {
      auto kept = std::make_shared<const client::Record>(record);
      producer_.produce(std::move(record), [this, kept = std::move(kept)](const auto& delivery) {
        settle(delivery, kept.get());
      });
    } else {
      producer_.produce(std::move(record),
                        [this](const auto& delivery) { settle(delivery, nullptr); });
    }
    return true;
  }

  void settle(const DeliveryLedger::Result& delivery, const client::Record* contents) {
    if (delivery) notice_.on_progress();
    if (ledger_.settle(delivery, contents)) stop_.set();
  }

  // Shows progress, and turns Ctrl-C into an end that also wakes a produce() that waits for room.
  void watch() {
    std::array<pollfd, 2> waits{{{interrupt_event().fd(), POLLIN, 0}, {finished_.fd(), POLLIN, 0}}};
    while (!finished_.is_set()) {
      poll(waits.data(), waits.size(), static_cast<int>(kMonitorInterval.count()));
      if (is_interrupted()) {
        stop_.set();
        producer_.close(kInterruptDeadline);
        return;
      }
      // It would stand where the person's own line is shown.
      if (is_typed_ || !messages_.wants_progress()) continue;
      const auto bytes_per_s = static_cast<double>(bytes()) / seconds();
      messages_.progress(
          fmt::format("{} acknowledged, {}, {}/s", counted(ledger_.acknowledged(), "record"),
                      byte_amount(bytes()), byte_amount(static_cast<std::uint64_t>(bytes_per_s))));
    }
  }

  AcknowledgementPrinter* printer_;
  Messages& messages_;
  OutageNotice& notice_;
  const bool is_typed_;
  std::uint64_t sent_ = 0;
  bool left_unread_ = false;
  StopEvent stop_;
  StopEvent finished_;
  DeliveryLedger ledger_;
  client::Producer producer_;
  Clock::time_point begin_;
};

// Nobody tells where records lie that were sent without acknowledgement.
nlohmann::ordered_json offset_or_null(std::int64_t offset) {
  return offset < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(offset);
}

std::string summary_as_json(const ProduceRun& run, double seconds) {
  const DeliveryLedger& ledger = run.ledger();
  nlohmann::ordered_json partitions = nlohmann::ordered_json::array();
  for (const auto& [partition, offsets] : ledger.partitions()) {
    partitions.push_back({{"partition", partition},
                          {"first_offset", offset_or_null(offsets.first)},
                          {"last_offset", offset_or_null(offsets.last)}});
  }
  const nlohmann::ordered_json whole{{"records", ledger.acknowledged()},
                                     {"bytes", run.bytes()},
                                     {"seconds", seconds},
                                     {"failed", ledger.failed()},
                                     {"unknown", ledger.unknown()},
                                     {"stopped", run.has_left_unread()},
                                     {"partitions", std::move(partitions)}};
  return json_text(whole, -1) + "\n";
}

std::string summary_in_words(const ProduceRun& run, const std::string& topic, double seconds,
                             bool is_acknowledged) {
  const DeliveryLedger& ledger = run.ledger();
  const double per_s = seconds > 0 ? 1 / seconds : 0;
  std::string text = fmt::format(
      "{} {}, {} in {:.2f} s ({}/s)", is_acknowledged ? "acknowledged" : "sent",
      counted(ledger.acknowledged(), "record"), byte_amount(run.bytes()), seconds,
      byte_amount(static_cast<std::uint64_t>(static_cast<double>(run.bytes()) * per_s)));
  if (ledger.failed() > 0) {
    text += fmt::format("; {} failed: {}", with_commas(ledger.failed()),
                        in_words(*ledger.first_failure(), topic));
  }
  if (ledger.unknown() > 0) {
    text += fmt::format("; {} may or may not be in the log: {}", with_commas(ledger.unknown()),
                        ledger.first_unknown()->message);
  }
  if (run.has_left_unread() && !interrupt_event().is_set()) {
    text += fmt::format("; stopped there: the input behind record {} was not read",
                        with_commas(run.sent()));
  }
  return text;
}

int exit_code(const DeliveryLedger& ledger, bool is_whole) {
  if (interrupt_event().is_set()) return interrupt_exit_code();
  return is_whole && ledger.failed() == 0 && ledger.unknown() == 0 ? kExitDone : kExitFailed;
}

// 0 partitions: as many as the broker's settings say. False after a message.
bool create_where_missing(client::Admin& admin, const std::string& name, std::int32_t partitions,
                          Messages& messages) {
  const auto created = admin.create_topic({.name = name, .partitions = partitions});
  if (created) {
    messages.note(fmt::format("created topic '{}'", name));
    return true;
  }
  if (created.error().code == static_cast<std::uint16_t>(ErrorCode::kTopicExists)) return true;
  messages.failure(
      fmt::format("tidelog: cannot create topic '{}': {}", name, in_words(created.error())));
  return false;
}

// Looks whether records can go where they shall before any is read.
bool check_target(const ProduceOptions& options, const ProducePlan& plan, Messages& messages) {
  client::ConnectOptions connect = plan.producer.connect;
  connect.log = nullptr;
  client::Admin admin(std::move(connect));
  if (options.creates_topic &&
      !create_where_missing(admin, plan.topic, options.partitions, messages)) {
    return false;
  }
  const auto topic = find_topic(admin, plan.topic, messages);
  if (!topic) return false;
  const auto partitions = static_cast<std::int32_t>(topic->partitions.size());
  const std::optional<std::int32_t>& wanted = options.input.partition;
  if (!wanted || (*wanted >= 0 && *wanted < partitions)) return true;
  messages.failure(
      fmt::format("tidelog: topic '{}' has no partition {}; it has {}, numbered from 0", plan.topic,
                  *wanted, partitions));
  return false;
}

Result<int> produce(const ProduceOptions& options) {
  TIDELOG_ASSIGN(ProducePlan plan, make_plan(options));
  Messages messages(options.cluster.is_quiet);
  OutageNotice notice(messages);
  TIDELOG_ASSIGN(plan.producer.connect, connect_options(options.cluster, &notice));
  TIDELOG_ASSIGN(RecordSource source, RecordSource::open(plan.source));
  if (!check_target(options, plan, messages)) return kExitFailed;
  interrupt_event();
  if (plan.is_typed) {
    messages.note("one record a line; Ctrl-D ends");
  }
  std::optional<AcknowledgementPrinter> printer;
  if (plan.output_format) printer.emplace(*plan.output_format, STDOUT_FILENO, interrupt_event());

  const bool is_acknowledged = plan.producer.acks != client::Acks::kNone;
  const std::string topic = plan.topic;
  ProduceRun run(std::move(plan), printer ? &*printer : nullptr, messages, notice);
  const auto read = run.run(source);
  const double seconds = run.seconds();
  bool is_whole = true;
  if (!read) {
    is_whole = false;
    messages.failure(fmt::format("tidelog: {}", read.error().message()));
  }
  if (const auto unwritten = printer ? printer->finish() : std::nullopt) {
    is_whole = false;
    messages.failure(fmt::format("tidelog: {}", unwritten->message()));
  }
  const int code = exit_code(run.ledger(), is_whole);
  if (options.input.is_json) {
    Output out(printer ? STDERR_FILENO : STDOUT_FILENO);
    out.text() = summary_as_json(run, seconds);
    TIDELOG_TRY(out.flush());
  }
  const std::string words = summary_in_words(run, topic, seconds, is_acknowledged);
  if (code == kExitDone) {
    if (!options.input.is_json) messages.note(words);
  } else {
    messages.failure(words);
  }
  return code;
}

}  // namespace

void add_produce_command(CommandLine& line) {
  const auto options = std::make_shared<ProduceOptions>();
  CLI::App* command = line.add_command(
      line.root(), "produce", "Send records to a topic: one a line of stdin or of the files",
      "  echo hello | tidelog produce events\n"
      "  tidelog produce events access.log -z zstd\n"
      "  printf 'user1:clicked\\n' | tidelog produce events -K : -H source=web\n"
      "  tidelog produce events -o '%p %o' < lines.txt > acknowledged.txt\n"
      "  tidelog consume events -e --json | tidelog produce copy --create --partitions 4 --json "
      "--keep-partition\n"
      "Formats are those of 'tidelog consume'; -f reads what consume -f prints. A format that "
      "does\n"
      "not say where its last field ends is read line by line; %p and %d choose partition and\n"
      "timestamp, %t and %o are read over.",
      [options] { return produce(*options); });
  command->add_option("topic_and_files", options->words, "TOPIC [FILE...]; FILE - is stdin")
      ->type_name("TOPIC FILE");
  command->add_option("-t,--topic", options->topic_flag, "Topic; then all words are files")
      ->type_name("TOPIC");
  options->input.add_to(line, *command);
  command
      ->add_option("-z,--compression", options->compression, "A level may follow, such as zstd:9")
      ->type_name("none|gzip|snappy|lz4|zstd")
      ->capture_default_str();
  command->add_option("--acks", options->acks, "Who must have a record")
      ->type_name("all|leader|none")
      ->capture_default_str();
  command
      ->add_option("-o,--output-format", options->output_format,
                   "Print a line per record once it is acknowledged (not with --acks none)")
      ->type_name("FORMAT");
  command
      ->add_option("--delivery-timeout", options->delivery_timeout,
                   "How long to try before a record counts as failed")
      ->type_name("TIME")
      ->capture_default_str();
  command->add_flag("--create", options->creates_topic, "Create the topic where it is missing");
  command
      ->add_option("--partitions", options->partitions,
                   "With --create: partitions of the topic (default: the broker's)")
      ->check(CLI::Range(1, wire::kPartitionsPerTopicMax).description(""));
  options->cluster.add_to(*command);
}

}  // namespace tidelog::tools
