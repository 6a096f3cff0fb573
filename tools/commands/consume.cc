// tidelog consume: records of a topic to standard output.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/cluster_access.h"
#include "tools/commands/commands.h"
#include "tools/format.h"
#include "tools/interrupt.h"
#include "tools/json_record.h"
#include "tools/offset_expression.h"
#include "tools/output.h"
#include "tools/quantity.h"
#include "tools/time_text.h"
#include "tools/topic_positions.h"

namespace tidelog::tools {
namespace {

using Clock = std::chrono::steady_clock;

// Longest wait between looks at Ctrl-C, at a closed pipe and at --timeout.
constexpr std::chrono::milliseconds kPollInterval{100};
// How long it may take until partitions that were added to the topic are read.
constexpr std::chrono::seconds kMetadataAgeMax{5};

struct ConsumeOptions {
  ClusterFlags cluster;
  std::string topic;
  std::string topic_flag;
  std::vector<std::string> offsets;
  std::optional<std::uint64_t> count;
  bool exits_at_end = false;
  bool is_from_beginning = false;
  std::vector<std::string> partitions;
  std::optional<std::string> format;
  bool is_json = false;
  std::optional<std::string> timeout;
};

struct ConsumePlan {
  std::string topic;
  OffsetRange range;
  std::uint64_t count_max = UINT64_MAX;
  bool exits_at_end = false;
  std::vector<std::int32_t> partitions;  // empty: all
  std::optional<Format> format;          // absent: JSON
  std::optional<std::chrono::milliseconds> timeout;
};

std::int64_t now_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

Result<ConsumePlan> make_plan(const ConsumeOptions& options) {
  ConsumePlan plan;
  if (options.topic.empty() == options.topic_flag.empty()) {
    return fail(ErrorCode::kInvalidArgument, "name one topic: tidelog consume TOPIC");
  }
  plan.topic = options.topic.empty() ? options.topic_flag : options.topic;
  const std::int64_t now = now_ms();
  for (const std::string& text : options.offsets) {
    TIDELOG_ASSIGN(const OffsetRange range, parse_offset_range(text, now));
    TIDELOG_ASSIGN(plan.range, join_offset_ranges(plan.range, range));
  }
  if (options.count) plan.count_max = *options.count;
  plan.exits_at_end = options.exits_at_end;
  if (options.is_from_beginning) {
    TIDELOG_ASSIGN(plan.range,
                   join_offset_ranges(plan.range, {.from = OffsetBound{}, .to = std::nullopt}));
  }
  TIDELOG_ASSIGN(plan.partitions, parse_partition_words(options.partitions));
  if (options.format && options.is_json) {
    return fail(ErrorCode::kInvalidArgument, "-f and --json both say how to print; use one");
  }
  if (!options.is_json) {
    TIDELOG_ASSIGN(plan.format,
                   of_flag("--format", Format::parse(options.format.value_or("%v\\n"))));
  }
  if (options.timeout) {
    TIDELOG_ASSIGN(plan.timeout, of_flag("--timeout", parse_duration(*options.timeout)));
  }
  return plan;
}

// What is read of one partition.
struct PartitionRange {
  client::Position from;
  std::optional<std::int64_t> end;  // reading stops before it
  // Of a time that no record had reached, the first one that does; older ones before it are not
  // meant.
  std::optional<std::int64_t> begin_ms;
  bool is_done = false;
};

// Reads, filters and prints.
class ConsumeRun {
 public:
  ConsumeRun(ConsumePlan plan, client::ConnectOptions connect, Messages& messages,
             OutageNotice& notice)
      : plan_(std::move(plan)),
        messages_(messages),
        notice_(notice),
        silence_max_(plan_.timeout.value_or(connect.request_timeout)),
        consumer_(client::ConsumerOptions{.connect = std::move(connect),
                                          .metadata_max_age = kMetadataAgeMax}),
        output_(STDOUT_FILENO) {}

  Result<int> run(const client::TopicDescription& topic) {
    if (!choose_ranges(topic) || !assign() || !follow(topic)) return kExitFailed;
    // Until here Ctrl-C ends the process at once: nothing was printed yet.
    output_.give_up_after(interrupt_event());
    last_record_ = begin_ = Clock::now();
    TIDELOG_ASSIGN(const int code, read_all());
    messages_.clear_progress();
    TIDELOG_TRY(output_.flush());
    consumer_.close(std::chrono::milliseconds(0));
    return code;
  }

 private:
  bool choose_ranges(const client::TopicDescription& topic);
  std::optional<std::int64_t> resolve(const client::PartitionDescription& partition,
                                      const OffsetBound& bound);
  void note_empty_range(const client::PartitionDescription& partition, std::int64_t begin,
                        std::int64_t end);
  void report_beyond_end(const client::PartitionDescription& partition, std::int64_t offset);
  bool assign();
  // Where all of the topic is read without an end, what is added to it belongs to that.
  bool follow(const client::TopicDescription& topic);
  PartitionRange& range_of(std::int32_t partition);
  Result<int> read_all();
  // After a poll that gave nothing: false once what is known to be there came for too long not.
  bool may_wait_on(std::chrono::milliseconds waited);
  Result<> print(const client::ConsumedRecord& record);
  Result<> print_all(const client::ConsumedRecords& polled);
  void report(const client::PartitionError& error);
  void look_for_ends();
  void finish(PartitionRange& range);
  void show_progress();
  bool is_timed_out() const {
    return plan_.timeout && Clock::now() - last_record_ >= *plan_.timeout;
  }

  ConsumePlan plan_;
  Messages& messages_;
  OutageNotice& notice_;
  const std::chrono::milliseconds silence_max_;  // with -e
  std::chrono::milliseconds silence_{0};         // polled in vain since the last record
  client::Consumer consumer_;
  Output output_;
  RecordFields fields_;
  std::map<std::int32_t, PartitionRange> ranges_;
  std::size_t unfinished_ = 0;  // partitions that may still give records
  bool has_failed_ = false;
  std::uint64_t printed_ = 0;
  std::uint64_t bytes_ = 0;
  Clock::time_point begin_;
  Clock::time_point last_record_;
};

// The offset that `bound` means now; nullopt after a message.
std::optional<std::int64_t> ConsumeRun::resolve(const client::PartitionDescription& partition,
                                                const OffsetBound& bound) {
  const auto offset = resolve_bound(consumer_, plan_.topic, partition, bound);
  if (offset) return *offset;
  messages_.failure(fmt::format("tidelog: {}", in_words(offset.error(), plan_.topic)));
  return std::nullopt;
}

// Reading to the end would be done before it began, and look like an empty partition.
void ConsumeRun::report_beyond_end(const client::PartitionDescription& partition,
                                   std::int64_t offset) {
  has_failed_ = true;
  messages_.failure(
      fmt::format("tidelog: partition {}: there is no offset {} yet; its records have offsets {} "
                  "to {} (end); -o -N means N before the end",
                  partition.partition, offset, partition.start_offset, partition.high_watermark));
}

// Right for some partitions of a topic, perhaps; where it is a mistake, nothing else would show it.
void ConsumeRun::note_empty_range(const client::PartitionDescription& partition, std::int64_t begin,
                                  std::int64_t end) {
  messages_.note(fmt::format(
      "partition {}: nothing to read: it would begin at offset {} and end "
      "before {}; its records have offsets {} to {} (end)",
      partition.partition, begin, end, partition.start_offset, partition.high_watermark));
}

bool ConsumeRun::choose_ranges(const client::TopicDescription& topic) {
  const auto chosen = choose_partitions(topic, plan_.partitions, messages_);
  if (!chosen) return false;
  has_failed_ = chosen->has_problems;
  for (const client::PartitionDescription& partition : chosen->partitions) {
    PartitionRange range;
    const OffsetBound from = plan_.range.from.value_or(OffsetBound{});
    // Start and end stay words: the log may move until the partition is assigned.
    range.from = client::Position::start();
    if (from.kind == OffsetBound::Kind::kEnd) {
      range.from = client::Position::end(from.value);
    } else if (from != OffsetBound{}) {
      const auto offset = resolve(partition, from);
      if (!offset) return false;
      range.from = client::Position::offset(*offset);
    }
    if (from.kind == OffsetBound::Kind::kTime) range.begin_ms = from.value;
    if (plan_.range.to) {
      range.end = resolve(partition, *plan_.range.to);
      if (!range.end) return false;
    }
    if (range.end) {
      const auto begin = resolve_bound(consumer_, plan_.topic, partition, from);
      if (begin && *begin > *range.end) note_empty_range(partition, *begin, *range.end);
    }
    if (plan_.exits_at_end && from.kind == OffsetBound::Kind::kOffset &&
        from.value > partition.high_watermark) {
      report_beyond_end(partition, from.value);
      continue;
    }
    if (plan_.exits_at_end) {
      range.end = std::min(range.end.value_or(INT64_MAX), partition.high_watermark);
    }
    ranges_.emplace(partition.partition, range);
  }
  unfinished_ = ranges_.size();
  return true;
}

bool ConsumeRun::assign() {
  std::vector<client::Assignment> assignments;
  for (const auto& [partition, range] : ranges_) {
    assignments.push_back({plan_.topic, partition, range.from});
  }
  const client::Status assigned = consumer_.assign(std::move(assignments));
  if (assigned) return true;
  messages_.failure(fmt::format("tidelog: {}", in_words(assigned.error(), plan_.topic)));
  return false;
}

bool ConsumeRun::follow(const client::TopicDescription& topic) {
  if (!plan_.partitions.empty() || plan_.exits_at_end || plan_.range.to || ranges_.empty()) {
    return true;
  }
  const client::Status followed =
      consumer_.follow(plan_.topic, static_cast<std::int32_t>(topic.partitions.size()));
  if (followed) return true;
  messages_.failure(fmt::format("tidelog: {}", in_words(followed.error(), plan_.topic)));
  return false;
}

PartitionRange& ConsumeRun::range_of(std::int32_t partition) {
  const auto [at, is_added] = ranges_.try_emplace(partition);
  if (is_added) {
    ++unfinished_;
    messages_.note(fmt::format("partition {} was added; it is read from its start", partition));
  }
  return at->second;
}

// Time in which this process did not run, as behind Ctrl-Z, is not time in which nothing came.
bool ConsumeRun::may_wait_on(std::chrono::milliseconds waited) {
  if (!plan_.exits_at_end) return !is_timed_out();
  silence_ += std::min(waited, 2 * kPollInterval);
  if (silence_ < silence_max_) return true;
  has_failed_ = true;
  messages_.failure(fmt::format(
      "tidelog: nothing came for {} ms, and {} not read to the end",
      with_commas(static_cast<std::uint64_t>(silence_max_.count())),
      unfinished_ == 1 ? "a partition is" : fmt::format("{} partitions are", unfinished_)));
  return false;
}

Result<int> ConsumeRun::read_all() {
  look_for_ends();
  while (unfinished_ > 0 && printed_ < plan_.count_max) {
    if (interrupt_event().is_set()) return interrupt_exit_code();
    const Clock::time_point polled_at = Clock::now();
    const std::size_t wanted = std::min<std::uint64_t>(plan_.count_max - printed_, SIZE_MAX);
    client::ConsumedRecords polled = consumer_.poll(std::chrono::milliseconds(0), wanted);
    if (polled.empty()) {  // a pause: nothing read is kept back meanwhile
      TIDELOG_TRY(output_.flush());
      if (output_.poll_closed()) return kExitDone;
      polled = consumer_.poll(kPollInterval, wanted);
    }
    for (const client::PartitionError& error : polled.errors) report(error);
    TIDELOG_TRY(print_all(polled));
    if (output_.is_closed()) {
      return interrupt_event().is_set() ? interrupt_exit_code() : kExitDone;
    }
    if (polled.records.empty()) {
      look_for_ends();
      const auto waited =
          std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - polled_at);
      if (unfinished_ > 0 && !may_wait_on(waited)) break;
    }
    show_progress();
  }
  const bool is_short = !plan_.exits_at_end && plan_.count_max != UINT64_MAX &&
                        printed_ < plan_.count_max && unfinished_ > 0;  // timed out
  if (is_short) {
    messages_.failure(fmt::format("tidelog: {} of {} came; none for {} ms since",
                                  counted(printed_, "record"), with_commas(plan_.count_max),
                                  plan_.timeout->count()));
  }
  return has_failed_ || is_short ? kExitFailed : kExitDone;
}

Result<> ConsumeRun::print_all(const client::ConsumedRecords& polled) {
  if (polled.records.empty()) return {};
  notice_.on_progress();
  last_record_ = Clock::now();
  silence_ = std::chrono::milliseconds(0);
  std::int32_t partition = -1;
  PartitionRange* range = nullptr;
  for (const client::ConsumedRecord& record : polled.records) {
    if (range == nullptr || record.partition != partition) {
      partition = record.partition;
      range = &range_of(partition);
    }
    if (range->end && record.offset + 1 >= *range->end) {
      finish(*range);
      if (record.offset >= *range->end) continue;
    }
    if (range->begin_ms && record.timestamp_ms < *range->begin_ms) continue;
    range->begin_ms.reset();
    TIDELOG_TRY(print(record));
  }
  return {};
}

Result<> ConsumeRun::print(const client::ConsumedRecord& record) {
  fields_.topic = record.topic;
  fields_.partition = record.partition;
  fields_.offset = record.offset;
  fields_.timestamp_ms = record.timestamp_ms;
  fields_.key = record.key;
  fields_.value = record.value;
  fields_.headers.clear();
  for (const client::HeaderRef& header : record.headers) {
    fields_.headers.push_back({header.key, header.value});
  }
  if (plan_.format) {
    plan_.format->print(fields_, output_.text());
  } else {
    append_json_record(fields_, output_.text());
    output_.text() += '\n';
  }
  ++printed_;
  bytes_ += (record.key ? record.key->size() : 0) + (record.value ? record.value->size() : 0);
  return output_.flush_when_large();
}

void ConsumeRun::finish(PartitionRange& range) {
  if (range.is_done) return;
  range.is_done = true;
  --unfinished_;
}

// Ends that no record announces: an empty range, or offsets that the log no longer has.
void ConsumeRun::look_for_ends() {
  for (auto& [partition, range] : ranges_) {
    if (!range.end || range.is_done) continue;
    const auto position = consumer_.position(plan_.topic, partition);
    if (position && *position >= *range.end) finish(range);
  }
}

void ConsumeRun::report(const client::PartitionError& error) {
  has_failed_ = true;
  PartitionRange& range = range_of(error.partition);
  std::string sentence = fmt::format("tidelog: partition {} at offset {}: {}", error.partition,
                                     error.position, in_words(error.error, plan_.topic));
  if (error.resume_offset) {
    sentence += fmt::format("\nGo on behind it with: tidelog consume {} -p {} -o {}", plan_.topic,
                            error.partition, *error.resume_offset);
  }
  messages_.failure(sentence);
  finish(range);
}

void ConsumeRun::show_progress() {
  if (isatty(STDOUT_FILENO) == 1 || !messages_.wants_progress()) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  messages_.progress(
      fmt::format("{}, {}, {}/s", counted(printed_, "record"), byte_amount(bytes_),
                  byte_amount(static_cast<std::uint64_t>(static_cast<double>(bytes_) / seconds))));
}

Result<int> consume(const ConsumeOptions& options) {
  TIDELOG_ASSIGN(ConsumePlan plan, make_plan(options));
  Messages messages(options.cluster.is_quiet);
  OutageNotice notice(messages);
  TIDELOG_ASSIGN(client::ConnectOptions connect, connect_options(options.cluster, &notice));
  std::optional<client::TopicDescription> topic;
  {
    client::ConnectOptions quiet = connect;
    quiet.log = nullptr;
    client::Admin admin(std::move(quiet));
    topic = find_topic(admin, plan.topic, messages);
  }
  if (!topic) return kExitFailed;
  ConsumeRun run(std::move(plan), std::move(connect), messages, notice);
  return run.run(*topic);
}

}  // namespace

void add_consume_command(CommandLine& line) {
  const auto options = std::make_shared<ConsumeOptions>();
  CLI::App* command = line.add_command(
      line.root(), "consume", "Print the records of a topic, then what arrives, until Ctrl-C",
      "  tidelog consume events -e\n"
      "  tidelog consume events -o end\n"
      "  tidelog consume events -o -10 -e -f '%p %o %k %v\\n'\n"
      "  tidelog consume events -o @-1h:end --json | jq .value\n"
      "Offsets: start, end, N, -N (N before the end), +N (N after the start), A:B (B not "
      "included),\n"
      ":end, @TIME, @A:B, where a time is 2024-01-31T12:00:00Z, ms since 1970, or -1h: the first\n"
      "record of that time or later, also when it is yet to come. As an end (:@TIME) a time that\n"
      "no record has reached is the present end.\n"
      "Formats: %t topic, %p partition, %o offset, %d timestamp in ms, %k key, %v value, %K %V "
      "their\n"
      "lengths, %h headers; %k{hex}, {base64}, {json}; \\n \\t \\0 \\xHH. Default: '%v\\n'.\n"
      "There is no order between partitions.",
      [options] { return consume(*options); });
  command->add_option("topic", options->topic, "The topic")->type_name("TOPIC");
  command->add_option("-t,--topic", options->topic_flag, "The topic")->type_name("TOPIC");
  add_repeated(*command, "-o,--offset", options->offsets,
               "Where to begin, and where to end (default: start)")
      ->type_name("OFFSET");
  command->add_flag("--from-beginning", options->is_from_beginning, "The same as -o start");
  command->add_option("-n,-c,--count,--num,--max-messages", options->count,
                      "Exit after this many records");
  command->add_flag(
      "-e,--exit-at-end", options->exits_at_end,
      "Exit at what is the end of each partition now; a failure where nothing comes for "
      "30 s, or --timeout");
  add_repeated(*command, "-p,--partitions,--partition", options->partitions,
               "Partitions, such as 0 or 0,2 or 0-3 (default: all)")
      ->type_name("LIST");
  command->add_option("-f,--format", options->format, "How to print a record")->type_name("FORMAT");
  command->add_flag("--json", options->is_json, "Print one JSON object a line");
  command
      ->add_option("--timeout", options->timeout,
                   "Exit when no record came for this long, such as 5s")
      ->type_name("TIME");
  options->cluster.add_to(*command);
  line.add_rivals(*command, "--format", "--json");
  line.add_rivals(*command, "--offset", "--from-beginning");
  line.add_yields(*command, {{.option = "--topic", .to = "topic"}});
}

}  // namespace tidelog::tools
