// tidelog topic: create, list, describe, delete; topic_change.cc has the others.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/cluster_access.h"
#include "tools/commands/commands.h"
#include "tools/commands/topic_change.h"
#include "tools/confirmation.h"
#include "tools/json_text.h"
#include "tools/output.h"
#include "tools/quantity.h"
#include "wire/limits.h"

namespace tidelog::tools {
namespace {

using Json = nlohmann::ordered_json;

struct TopicOptions {
  ClusterFlags cluster;
  std::vector<std::string> names;
  std::int32_t partitions = 0;  // as many as the broker's default.partitions says
  std::int32_t replicas = -1;
  std::vector<std::string> settings;
  bool is_json = false;
  bool is_confirmed = false;
};

Result<int> print(std::string text) {
  Output out(STDOUT_FILENO);
  out.text() = std::move(text);
  TIDELOG_TRY(out.flush());
  return kExitDone;
}

Result<int> create_topics(const TopicOptions& options) {
  Messages messages(options.cluster.is_quiet);
  client::NewTopic topic{.partitions = options.partitions, .replication_factor = options.replicas};
  TIDELOG_ASSIGN(topic.settings, parse_settings(options.settings));
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  int code = kExitDone;
  for (const std::string& name : options.names) {
    topic.name = name;
    const client::Status created = admin.create_topic(topic);
    if (created) {
      messages.note(fmt::format("created topic '{}'", name));
    } else {
      messages.failure(
          fmt::format("tidelog: cannot create topic '{}': {}", name, in_words(created.error())));
      code = kExitFailed;
    }
  }
  return code;
}

std::string topics_as_json(const std::vector<client::TopicSummary>& topics) {
  Json list = Json::array();
  for (const client::TopicSummary& topic : topics) {
    list.push_back({{"name", topic.name},
                    {"topic_id", topic.topic_id},
                    {"partitions", topic.partitions},
                    {"replication_factor", topic.replication_factor}});
  }
  return json_text(list, 2) + "\n";
}

std::string topics_as_table(const std::vector<client::TopicSummary>& topics) {
  std::size_t width = std::string_view("NAME").size();
  for (const client::TopicSummary& topic : topics) width = std::max(width, topic.name.size());
  std::string text =
      fmt::format("{:<{}}  {:>10}  {:>8}\n", "NAME", width, "PARTITIONS", "REPLICAS");
  for (const client::TopicSummary& topic : topics) {
    text += fmt::format("{:<{}}  {:>10}  {:>8}\n", topic.name, width, topic.partitions,
                        topic.replication_factor);
  }
  return text;
}

Result<int> list_topics(const TopicOptions& options) {
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  auto topics = admin.list_topics();
  if (!topics) {
    messages.failure(fmt::format("tidelog: {}", in_words(topics.error())));
    return kExitFailed;
  }
  std::ranges::sort(*topics, {}, &client::TopicSummary::name);
  if (options.is_json) return print(topics_as_json(*topics));
  if (topics->empty()) {
    messages.note("there are no topics yet; make one with: tidelog topic create NAME");
    return kExitDone;
  }
  return print(topics_as_table(*topics));
}

std::string description_as_json(const client::TopicDescription& topic) {
  Json partitions = Json::array();
  for (const client::PartitionDescription& partition : topic.partitions) {
    Json item{{"partition", partition.partition},
              {"leader", partition.leader},
              {"leader_epoch", partition.leader_epoch},
              {"replicas", partition.replicas},
              {"isr", partition.isr},
              {"start_offset", partition.start_offset},
              {"high_watermark", partition.high_watermark},
              {"log_end_offset", partition.log_end_offset}};
    if (!partition.problem.empty()) item["problem"] = partition.problem;
    partitions.push_back(std::move(item));
  }
  Json settings = Json::object();
  for (const auto& [name, value] : topic.settings) settings[name] = value;
  const Json whole{{"name", topic.name},
                   {"topic_id", topic.topic_id},
                   {"settings", std::move(settings)},
                   {"partitions", std::move(partitions)}};
  return json_text(whole, 2) + "\n";
}

std::string description_as_text(const client::TopicDescription& topic) {
  std::string text = fmt::format("name      {}\ntopic id  {}\n", topic.name, topic.topic_id);
  for (const auto& [name, value] : topic.settings) {
    text += fmt::format("setting   {}={}\n", name, value);
  }
  text += fmt::format("\n{:>9}  {:>6}  {:>5}  {:>12}  {:>14}  {:>14}  {}\n", "PARTITION", "LEADER",
                      "EPOCH", "START OFFSET", "HIGH WATERMARK", "LOG END OFFSET",
                      "REPLICAS (IN SYNC)");
  for (const client::PartitionDescription& partition : topic.partitions) {
    text += fmt::format("{:>9}  {:>6}  {:>5}  {:>12}  {:>14}  {:>14}  {} ({})\n",
                        partition.partition, partition.leader, partition.leader_epoch,
                        partition.start_offset, partition.high_watermark, partition.log_end_offset,
                        fmt::join(partition.replicas, ","), fmt::join(partition.isr, ","));
    if (!partition.problem.empty()) {
      text += fmt::format("           problem: {}\n", partition.problem);
    }
  }
  return text;
}

Result<int> describe_topic(const TopicOptions& options) {
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  auto topic = find_topic(admin, options.names.front(), messages);
  if (!topic) return kExitFailed;
  std::ranges::sort(topic->partitions, {}, &client::PartitionDescription::partition);
  return print(options.is_json ? description_as_json(*topic) : description_as_text(*topic));
}

Result<int> delete_topic(const TopicOptions& options) {
  Messages messages(options.cluster.is_quiet);
  const std::string& name = options.names.front();
  if (!options.is_confirmed && !can_ask()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("topic delete removes all records of '{}'; add -y to do it without "
                            "being asked",
                            name));
  }
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  const auto topic = find_topic(admin, name, messages);
  if (!topic) return kExitFailed;
  if (!options.is_confirmed) {
    std::int64_t records = 0;
    for (const auto& partition : topic->partitions) {
      records += partition.log_end_offset - partition.start_offset;
    }
    const std::string question = fmt::format(
        "Delete topic '{}' with about {}? [y/N] ", name,
        counted(static_cast<std::uint64_t>(std::max<std::int64_t>(records, 0)), "record"));
    if (!confirm(question)) {
      messages.note("nothing was deleted");
      return kExitFailed;
    }
  }
  const client::Status deleted = admin.delete_topic(name);
  if (!deleted) {
    messages.failure(fmt::format("tidelog: cannot delete topic '{}': {}", name,
                                 in_words(deleted.error(), name)));
    return kExitFailed;
  }
  messages.note(fmt::format("deleted topic '{}'", name));
  return kExitDone;
}

using TopicRun = Result<int> (*)(const TopicOptions&);

// Each command has options of its own: an environment name sets those of commands not chosen, too.
CLI::App* add_topic_command(CommandLine& line, CLI::App& topic,
                            const std::shared_ptr<TopicOptions>& options, const std::string& name,
                            const std::string& description, const std::string& example,
                            TopicRun run) {
  CLI::App* command =
      line.add_command(topic, name, description, example, [options, run] { return run(*options); });
  options->cluster.add_to(*command);
  return command;
}

void add_create(CommandLine& line, CLI::App& topic) {
  const auto options = std::make_shared<TopicOptions>();
  CLI::App* command =
      add_topic_command(line, topic, options, "create", "Create topics",
                        "  tidelog topic create events\n"
                        "  tidelog topic create clicks views -p 8 --set retention.ms=3600000",
                        create_topics);
  command->add_option("name", options->names, "Letters, digits, '.', '_', '-'")
      ->type_name("NAME")
      ->required();
  command
      ->add_option("-p,--partitions", options->partitions,
                   "Partitions of each topic (default: the broker's)")
      ->check(CLI::Range(1, wire::kPartitionsPerTopicMax).description(""));
  command->add_option("-r,--replicas,--replication-factor", options->replicas,
                      "Copies of each partition (default: the broker's)");
  add_repeated(*command, "--set,--config,--topic-config", options->settings,
               "A setting; may be repeated")
      ->type_name("KEY=VALUE");
}

void add_list(CommandLine& line, CLI::App& topic) {
  const auto options = std::make_shared<TopicOptions>();
  CLI::App* command =
      add_topic_command(line, topic, options, "list", "List all topics",
                        "  tidelog topic list --json | jq -r '.[].name'", list_topics);
  command->add_flag("--json", options->is_json, "Print JSON");
}

void add_describe(CommandLine& line, CLI::App& topic) {
  const auto options = std::make_shared<TopicOptions>();
  CLI::App* command = add_topic_command(line, topic, options, "describe",
                                        "Show a topic's settings, partitions and offsets",
                                        "  tidelog topic describe events", describe_topic);
  command->add_option("name", options->names, "The topic's name")
      ->type_name("TOPIC")
      ->required()
      ->expected(1);
  command->add_flag("--json", options->is_json, "Print JSON");
}

void add_delete(CommandLine& line, CLI::App& topic) {
  const auto options = std::make_shared<TopicOptions>();
  CLI::App* command =
      add_topic_command(line, topic, options, "delete", "Delete a topic and all its records",
                        "  tidelog topic delete events -y", delete_topic);
  command->add_option("name", options->names, "The topic's name")
      ->type_name("TOPIC")
      ->required()
      ->expected(1);
  command->add_flag("-y,--yes", options->is_confirmed, "Do not ask");
}

}  // namespace

void add_topic_commands(CommandLine& line) {
  CLI::App* topic =
      line.add_command(line.root(), "topic", "Create, list, describe, change, delete topics",
                       "  tidelog topic create events -p 4\n"
                       "  tidelog topic list",
                       nullptr);
  topic->require_subcommand(1);
  add_create(line, *topic);
  add_list(line, *topic);
  add_describe(line, *topic);
  add_topic_changes(line, *topic);
  add_delete(line, *topic);
}

}  // namespace tidelog::tools
