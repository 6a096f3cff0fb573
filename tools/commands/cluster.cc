// tidelog cluster: what the brokers report of themselves.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/cluster_access.h"
#include "tools/commands/commands.h"
#include "tools/json_text.h"
#include "tools/output.h"

namespace tidelog::tools {
namespace {

using Json = nlohmann::ordered_json;

struct ClusterOptions {
  ClusterFlags cluster;
  std::vector<std::string> settings;
  bool is_json = false;
};

Result<int> print(std::string text) {
  Output out(STDOUT_FILENO);
  out.text() = std::move(text);
  TIDELOG_TRY(out.flush());
  return kExitDone;
}

// Rows of words, the first its heading, in columns as wide as their widest word.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      text += fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    text += row.back() + "\n";
  }
  return text;
}

std::string status_as_json(const client::ClusterStatus& cluster) {
  Json brokers = Json::array();
  for (const client::BrokerStatus& broker : cluster.brokers) {
    brokers.push_back({{"id", broker.id},
                       {"address", broker.address},
                       {"admin", broker.admin},
                       {"state", broker.state},
                       {"version", broker.version},
                       {"durability", broker.durability},
                       {"partitions", broker.partitions},
                       {"leaders", broker.leaders},
                       {"storage", broker.storage},
                       {"warnings", broker.warnings},
                       {"started_ms", broker.started_ms}});
  }
  const Json status{{"cluster_id", cluster.cluster_id},
                    {"controller", cluster.controller},
                    {"metadata", cluster.metadata},
                    {"brokers", std::move(brokers)}};
  return json_text(status, 2) + "\n";
}

std::string status_as_text(const client::ClusterStatus& cluster) {
  std::vector<std::vector<std::string>> rows{
      {"BROKER", "STATE", "ADDRESS", "ADMIN", "VERSION", "DURABILITY", "PARTITIONS", "LEADERS"}};
  std::string words;
  for (const client::BrokerStatus& broker : cluster.brokers) {
    rows.push_back({std::to_string(broker.id), broker.state, broker.address,
                    broker.admin.empty() ? "off" : broker.admin, broker.version, broker.durability,
                    std::to_string(broker.partitions), std::to_string(broker.leaders)});
    words += fmt::format("broker {}: {}\n", broker.id, broker.storage);
    for (const std::string& warning : broker.warnings) {
      words += fmt::format("broker {}: {}\n", broker.id, warning);
    }
  }
  return fmt::format("cluster {}, controller {}, metadata {}\n\n{}\n{}", cluster.cluster_id,
                     cluster.controller, cluster.metadata, table(rows), words);
}

Result<int> show_status(const ClusterOptions& options) {
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  const auto cluster = admin.cluster_status();
  if (!cluster) {
    messages.failure(fmt::format("tidelog: {}", in_words(cluster.error())));
    return kExitFailed;
  }
  return print(options.is_json ? status_as_json(*cluster) : status_as_text(*cluster));
}

std::string settings_as_json(const client::BrokerSettings& broker) {
  Json settings = Json::array();
  for (const client::BrokerSetting& setting : broker.settings) {
    settings.push_back({{"name", setting.name},
                        {"value", setting.value},
                        {"origin", setting.origin},
                        {"live", setting.is_live},
                        {"type", setting.type},
                        {"default", setting.default_value},
                        {"meaning", setting.meaning}});
  }
  const Json brokers = Json::array({{{"broker", broker.broker}, {"settings", settings}}});
  return json_text(brokers, 2) + "\n";
}

std::string settings_as_text(const client::BrokerSettings& broker) {
  std::vector<std::vector<std::string>> rows{{"SETTING", "VALUE", "FROM", "LIVE", "MEANING"}};
  for (const client::BrokerSetting& setting : broker.settings) {
    rows.push_back({setting.name, setting.value.empty() ? "-" : setting.value, setting.origin,
                    setting.is_live ? "yes" : "no", setting.meaning});
  }
  return fmt::format("broker {}\n\n{}", broker.broker, table(rows));
}

Result<std::map<std::string, std::string>> parse_changes(const std::vector<std::string>& pairs) {
  std::map<std::string, std::string> changes;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--set '{}' is no key=value, such as log.level=debug", pair));
    }
    if (!changes.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--set names '{}' twice", pair.substr(0, equals)));
    }
  }
  return changes;
}

Result<int> show_settings(const ClusterOptions& options) {
  Messages messages(options.cluster.is_quiet);
  TIDELOG_ASSIGN(const auto changes, parse_changes(options.settings));
  TIDELOG_ASSIGN(auto connect, connect_options(options.cluster, nullptr));
  client::Admin admin(std::move(connect));
  const auto settings = admin.change_broker_settings(changes);
  if (!settings) {
    messages.failure(fmt::format("tidelog: {}", in_words(settings.error())));
    return kExitFailed;
  }
  if (!changes.empty()) {
    messages.note(fmt::format("changed {} setting{} of broker {} until it restarts", changes.size(),
                              changes.size() == 1 ? "" : "s", settings->broker));
    if (!options.is_json) return kExitDone;
  }
  return print(options.is_json ? settings_as_json(*settings) : settings_as_text(*settings));
}

}  // namespace

void add_cluster_commands(CommandLine& line) {
  CLI::App* cluster = line.add_command(
      line.root(), "cluster", "Show what the brokers report, and their settings",
      "  tidelog cluster status\n"
      "  tidelog cluster config --json | jq -r '.[].settings[] | select(.origin != \"default\")'",
      nullptr);
  cluster->require_subcommand(1);

  const auto status = std::make_shared<ClusterOptions>();
  CLI::App* status_command = line.add_command(
      *cluster, "status", "Show the brokers: state, address, durability, partitions",
      "  tidelog cluster status --json | jq -r '.brokers[].durability'",
      [status] { return show_status(*status); });
  status->cluster.add_to(*status_command);
  status_command->add_flag("--json", status->is_json, "Print JSON");

  const auto config = std::make_shared<ClusterOptions>();
  CLI::App* config_command = line.add_command(
      *cluster, "config", "Show a broker's settings, or change those that may change while it runs",
      "  tidelog cluster config\n"
      "  tidelog cluster config --set log.level=debug\n"
      "A change holds until the broker restarts; to keep it, write it into the settings file too.",
      [config] { return show_settings(*config); });
  config->cluster.add_to(*config_command);
  add_repeated(*config_command, "--set", config->settings,
               "A change; may be repeated; all are made or none")
      ->type_name("KEY=VALUE");
  config_command->add_flag("--json", config->is_json, "Print JSON");
}

}  // namespace tidelog::tools
