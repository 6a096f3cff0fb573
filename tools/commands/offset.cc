// tidelog offset: what an offset expression means, per partition.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/cluster_access.h"
#include "tools/commands/commands.h"
#include "tools/json_text.h"
#include "tools/offset_expression.h"
#include "tools/output.h"
#include "tools/topic_positions.h"

namespace tidelog::tools {
namespace {

struct OffsetOptions {
  ClusterFlags cluster;
  std::string topic_flag;
  std::vector<std::string> words;  // TOPIC OFFSET, or OFFSET with -t
  std::vector<std::string> partitions;
  bool is_json = false;
};

// What the expression means in one partition.
struct Meaning {
  client::PartitionDescription partition;
  std::int64_t from = 0;
  std::optional<std::int64_t> to;
};

std::string as_json(const std::string& topic, const std::vector<Meaning>& meanings) {
  nlohmann::ordered_json partitions = nlohmann::ordered_json::array();
  for (const Meaning& one : meanings) {
    nlohmann::ordered_json to = nullptr;
    if (one.to) to = *one.to;
    partitions.push_back({{"partition", one.partition.partition},
                          {"from", one.from},
                          {"to", std::move(to)},
                          {"start_offset", one.partition.start_offset},
                          {"high_watermark", one.partition.high_watermark}});
  }
  const nlohmann::ordered_json whole{{"topic", topic}, {"partitions", std::move(partitions)}};
  return json_text(whole, 2) + "\n";
}

// Where the offset lies, when there is no record at it.
std::string_view place(const client::PartitionDescription& partition, std::int64_t offset) {
  if (offset < partition.start_offset) return "  (before the start)";
  if (offset > partition.high_watermark) return "  (behind the end)";
  if (offset == partition.high_watermark) return "  (the end)";
  return "";
}

std::string as_text(const std::vector<Meaning>& meanings) {
  const bool is_range =
      std::ranges::any_of(meanings, [](const auto& one) { return one.to.has_value(); });
  std::string text = is_range ? fmt::format("{:>9}  {:>12}  {:>12}\n", "PARTITION", "FROM", "TO")
                              : fmt::format("{:>9}  {:>12}\n", "PARTITION", "OFFSET");
  for (const Meaning& one : meanings) {
    text += fmt::format("{:>9}  {:>12}", one.partition.partition, one.from);
    if (one.to) {
      text += fmt::format("  {:>12}\n", *one.to);
    } else {
      text += fmt::format("{}\n", place(one.partition, one.from));
    }
  }
  return text;
}

Result<std::optional<std::vector<Meaning>>> resolve_range(
    const OffsetOptions& options, const client::TopicDescription& topic, const OffsetRange& range,
    std::span<const client::PartitionDescription> partitions, Messages& messages) {
  TIDELOG_ASSIGN(client::ConnectOptions connect, connect_options(options.cluster, nullptr));
  client::Consumer consumer(client::ConsumerOptions{.connect = std::move(connect)});
  std::vector<Meaning> meanings;
  for (const client::PartitionDescription& partition : partitions) {
    const auto resolve = [&](const OffsetBound& bound) -> std::optional<std::int64_t> {
      const auto offset = resolve_bound(consumer, topic.name, partition, bound);
      if (offset) return *offset;
      messages.failure(fmt::format("tidelog: {}", in_words(offset.error(), topic.name)));
      return std::nullopt;
    };
    const auto from = resolve(range.from.value_or(OffsetBound{}));
    if (!from) return std::nullopt;
    Meaning meaning{.partition = partition, .from = *from, .to = std::nullopt};
    if (range.to) {
      meaning.to = resolve(*range.to);
      if (!meaning.to) return std::nullopt;
    }
    meanings.push_back(std::move(meaning));
  }
  return meanings;
}

Result<int> show_offsets(const OffsetOptions& options) {
  std::vector<std::string> words = options.words;
  if (!options.topic_flag.empty()) words.insert(words.begin(), options.topic_flag);
  if (words.size() != 2 || words.front().empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "name a topic and an offset: tidelog offset TOPIC OFFSET");
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  TIDELOG_ASSIGN(const OffsetRange range,
                 parse_offset_range(
                     words[1], std::chrono::duration_cast<std::chrono::milliseconds>(now).count()));
  TIDELOG_ASSIGN(const auto wanted, parse_partition_words(options.partitions));
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(client::ConnectOptions connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  const auto topic = find_topic(admin, words.front(), messages);
  if (!topic) return kExitFailed;
  const auto chosen = choose_partitions(*topic, wanted, messages);
  if (!chosen) return kExitFailed;
  TIDELOG_ASSIGN(const auto meanings,
                 resolve_range(options, *topic, range, chosen->partitions, messages));
  if (!meanings) return kExitFailed;
  Output out(STDOUT_FILENO);
  out.text() = options.is_json ? as_json(topic->name, *meanings) : as_text(*meanings);
  TIDELOG_TRY(out.flush());
  return chosen->has_problems ? kExitFailed : kExitDone;
}

}  // namespace

void add_offset_command(CommandLine& line) {
  const auto options = std::make_shared<OffsetOptions>();
  CLI::App* command =
      line.add_command(line.root(), "offset", "Show what an offset expression means, per partition",
                       "  tidelog offset events end\n"
                       "  tidelog offset events @-1h\n"
                       "  tidelog offset events -100:end -p 0-3 --json\n"
                       "Offsets are those of 'tidelog consume'.",
                       [options] { return show_offsets(*options); });
  command->add_option("topic_and_offset", options->words, "The topic and the expression")
      ->type_name("TOPIC OFFSET");
  command->add_option("-t,--topic", options->topic_flag, "Topic; then OFFSET is the only word")
      ->type_name("TOPIC");
  add_repeated(*command, "-p,--partitions,--partition", options->partitions,
               "Partitions, such as 0 or 0,2 or 0-3 (default: all)")
      ->type_name("LIST");
  command->add_flag("--json", options->is_json, "Print JSON");
  options->cluster.add_to(*command);
  line.add_yields(*command, {{.option = "--topic", .to = "topic_and_offset", .count_min = 2}});
}

}  // namespace tidelog::tools
