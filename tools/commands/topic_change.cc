#include "tools/commands/topic_change.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/cluster_access.h"
#include "tools/json_text.h"
#include "tools/offset_expression.h"
#include "tools/output.h"
#include "tools/partition_list.h"
#include "tools/quantity.h"
#include "tools/topic_positions.h"
#include "wire/limits.h"

namespace tidelog::tools {
namespace {

using Json = nlohmann::ordered_json;

struct ChangeOptions {
  ClusterFlags cluster;
  std::string name;
  std::vector<std::string> settings;
  std::vector<std::string> defaults;
  std::int32_t total = 0;
  std::optional<std::string> partitions;
  std::string before;
  bool is_json = false;
};

std::int64_t now_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

Result<int> alter_topic(const ChangeOptions& options) {
  Messages messages(options.cluster.is_quiet);
  client::TopicChange change{.defaults = options.defaults};
  TIDELOG_ASSIGN(change.settings, parse_settings(options.settings));
  if (change.settings.empty() && change.defaults.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "topic alter changes settings: name one with --set retention.ms=3600000, or take "
                "one back to its default with --unset retention.ms");
  }
  for (const std::string& name : change.defaults) {
    if (!change.settings.contains(name)) continue;
    return fail(ErrorCode::kInvalidArgument, fmt::format("--set and --unset both name '{}'", name));
  }
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  if (!find_topic(admin, options.name, messages)) return kExitFailed;
  const client::Status altered = admin.alter_topic(options.name, change);
  if (!altered) {
    messages.failure(fmt::format("tidelog: cannot alter topic '{}': {}", options.name,
                                 in_words(altered.error(), options.name)));
    return kExitFailed;
  }
  messages.note(fmt::format("altered topic '{}'", options.name));
  return kExitDone;
}

Result<int> add_partitions(const ChangeOptions& options) {
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  const auto topic = find_topic(admin, options.name, messages);
  if (!topic) return kExitFailed;
  const client::Status added = admin.add_partitions(options.name, options.total);
  if (!added) {
    messages.failure(fmt::format("tidelog: cannot add partitions to topic '{}': {}", options.name,
                                 in_words(added.error(), options.name)));
    return kExitFailed;
  }
  if (std::cmp_equal(options.total, topic->partitions.size())) {
    messages.note(fmt::format("topic '{}' has {} already", options.name,
                              counted(topic->partitions.size(), "partition")));
    return kExitDone;
  }
  messages.note(fmt::format(
      "topic '{}' has {} now, {} before; records with a key may go to other partitions than before",
      options.name, counted(static_cast<std::uint64_t>(options.total), "partition"),
      topic->partitions.size()));
  return kExitDone;
}

Result<OffsetBound> parse_before(const std::string& text) {
  TIDELOG_ASSIGN(const OffsetRange range, parse_offset_range(text, now_ms()));
  if (range.to) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--before takes one offset, such as 1000, end, -100 or @-7d, and not "
                            "the range '{}'",
                            text));
  }
  return range.from.value_or(OffsetBound{});
}

// Prints where the partitions begin now; the exit code.
Result<int> report(const ChangeOptions& options,
                   const std::vector<client::TrimmedPartition>& trimmed, Messages& messages) {
  int code = kExitDone;
  Json list = Json::array();
  for (const client::TrimmedPartition& partition : trimmed) {
    if (!partition.problem.empty()) {
      messages.failure(fmt::format("tidelog: cannot trim partition {} of topic '{}': {}",
                                   partition.partition, options.name, partition.problem));
      code = kExitFailed;
      continue;
    }
    list.push_back({{"partition", partition.partition}, {"start_offset", partition.start_offset}});
    if (!options.is_json) {
      messages.note(fmt::format("partition {} of topic '{}' begins at offset {}",
                                partition.partition, options.name, partition.start_offset));
    }
  }
  if (!options.is_json) return code;
  Output out(STDOUT_FILENO);
  out.text() = json_text(list, 2) + "\n";
  TIDELOG_TRY(out.flush());
  return code;
}

Result<int> trim_topic(const ChangeOptions& options) {
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(const OffsetBound bound, parse_before(options.before));
  std::vector<std::int32_t> wanted;
  if (options.partitions) {
    TIDELOG_ASSIGN(wanted, parse_partitions(*options.partitions));
  }
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(connect);
  const auto topic = find_topic(admin, options.name, messages);
  if (!topic) return kExitFailed;
  const auto chosen = choose_partitions(*topic, wanted, messages);
  // Nothing is deleted beside a damage until somebody has looked at it.
  if (!chosen || chosen->has_problems) return kExitFailed;
  client::Consumer consumer({.connect = std::move(connect)});
  std::map<std::int32_t, std::int64_t> before;
  for (const client::PartitionDescription& partition : chosen->partitions) {
    const auto offset = resolve_bound(consumer, options.name, partition, bound);
    if (!offset) {
      messages.failure(fmt::format("tidelog: {}", in_words(offset.error(), options.name)));
      return kExitFailed;
    }
    before[partition.partition] = *offset;
  }
  const auto trimmed = admin.delete_records(options.name, before);
  if (!trimmed) {
    messages.failure(fmt::format("tidelog: cannot trim topic '{}': {}", options.name,
                                 in_words(trimmed.error(), options.name)));
    return kExitFailed;
  }
  return report(options, *trimmed, messages);
}

using ChangeRun = Result<int> (*)(const ChangeOptions&);

CLI::App* add_change(CommandLine& line, CLI::App& topic,
                     const std::shared_ptr<ChangeOptions>& options, const std::string& name,
                     const std::string& description, const std::string& example, ChangeRun run) {
  CLI::App* command =
      line.add_command(topic, name, description, example, [options, run] { return run(*options); });
  options->cluster.add_to(*command);
  command->add_option("name", options->name, "The topic's name")->type_name("TOPIC")->required();
  return command;
}

}  // namespace

Result<std::map<std::string, std::string>> parse_settings(const std::vector<std::string>& pairs) {
  std::map<std::string, std::string> settings;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--set '{}' is no key=value, such as retention.ms=3600000", pair));
    }
    if (!settings.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--set names '{}' twice", pair.substr(0, equals)));
    }
  }
  return settings;
}

void add_topic_changes(CommandLine& line, CLI::App& topic) {
  const auto altered = std::make_shared<ChangeOptions>();
  CLI::App* alter = add_change(line, topic, altered, "alter", "Change settings of a topic",
                               "  tidelog topic alter events --set retention.ms=3600000\n"
                               "  tidelog topic alter events --unset retention.ms",
                               alter_topic);
  add_repeated(*alter, "--set", altered->settings, "A setting; may be repeated")
      ->type_name("KEY=VALUE");
  add_repeated(*alter, "--unset", altered->defaults,
               "A setting that goes back to its default; may be repeated")
      ->type_name("KEY");

  const auto grown = std::make_shared<ChangeOptions>();
  CLI::App* grow = add_change(line, topic, grown, "add-partitions", "Give a topic more partitions",
                              "  tidelog topic add-partitions events 8", add_partitions);
  grow->add_option("total", grown->total, "How many partitions the topic has then")
      ->type_name("TOTAL")
      ->required()
      ->check(CLI::Range(1, wire::kPartitionsPerTopicMax).description(""));

  const auto trimmed = std::make_shared<ChangeOptions>();
  CLI::App* trim = add_change(line, topic, trimmed, "trim", "Delete the oldest records of a topic",
                              "  tidelog topic trim events --before 1000 -p 0\n"
                              "  tidelog topic trim events --before @-7d\n"
                              "  tidelog topic trim events --before end",
                              trim_topic);
  trim->add_option("-p,--partitions", trimmed->partitions,
                   "Partitions, such as 0,2 or 0-3 (default: all)")
      ->type_name("LIST");
  trim->add_option("--before", trimmed->before,
                   "Offset of the first record that stays: N, -N before the end, +N after the "
                   "start, end, @time")
      ->type_name("OFFSET")
      ->required();
  trim->add_flag("--json", trimmed->is_json, "Print JSON");
}

}  // namespace tidelog::tools
