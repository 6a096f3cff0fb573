#include "tools/environment_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "broker/settings.h"
#include "tools/suggestion.h"

namespace tidelog::tools {
namespace {

constexpr const char* kPrefix = "TIDELOG_";

std::string upper_case(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == '-' || c == '.') c = '_';
  }
  return text;
}

// Its command reads that variable itself.
bool names_variable(const CLI::Option& option) {
  return option.get_description().find(kPrefix) != std::string::npos;
}

// "topic.create."
std::string key_prefix(const CLI::App& command) {
  std::string prefix;
  for (const std::string& word : command_path(command)) prefix += word + ".";
  return prefix;
}

bool is_slip_of(std::string_view variable, const FlagVariable& flag) {
  constexpr int kEditsMax = 2;
  return edit_distance(variable, flag.variable) <= kEditsMax;
}

}  // namespace

std::vector<std::string> command_path(const CLI::App& command) {
  std::vector<std::string> path;
  for (const CLI::App* app = &command; app->get_parent() != nullptr; app = app->get_parent()) {
    path.push_back(app->get_name());
  }
  std::ranges::reverse(path);
  return path;
}

std::vector<CLI::App*> leaf_commands(CLI::App& app) {
  const auto any = [](const CLI::App*) { return true; };
  std::vector<CLI::App*> leaves;
  for (CLI::App* command : app.get_subcommands(any)) {
    std::vector<CLI::App*> below = leaf_commands(*command);
    if (below.empty()) below.push_back(command);
    leaves.insert(leaves.end(), below.begin(), below.end());
  }
  return leaves;
}

std::vector<FlagVariable> flag_variables(CLI::App& command) {
  const std::string prefix = key_prefix(command);
  std::vector<FlagVariable> flags;
  for (CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty() || option == command.get_help_ptr()) continue;
    if (names_variable(*option)) continue;
    const std::string& name = option->get_lnames().front();
    const std::string& shared = option->get_envname();
    const std::string key = shared.empty() ? prefix + name : name;
    flags.push_back({option, key, shared.empty() ? kPrefix + upper_case(key) : shared});
  }
  return flags;
}

std::vector<std::string> complain_about_variables(const CLI::App& command,
                                                  std::span<const FlagVariable> flags,
                                                  const std::set<std::string>& known) {
  const auto reads_its_own = [](const CLI::Option* option) { return names_variable(*option); };
  if (std::ranges::any_of(command.get_options(), reads_its_own)) return {};
  std::set<std::string> settings;
  for (const broker::SettingInfo& setting : broker::setting_table()) {
    settings.insert(broker::environment_name(setting.name));
  }
  const std::string own = kPrefix + upper_case(key_prefix(command));
  std::vector<std::string> names;
  for (const FlagVariable& flag : flags) names.push_back(flag.variable);
  std::vector<std::string> complaints;
  for (const auto& [variable, value] : broker::process_environment()) {
    if (!variable.starts_with(kPrefix) || known.contains(variable) || settings.contains(variable)) {
      continue;
    }
    const auto is_slip = [&](const FlagVariable& flag) { return is_slip_of(variable, flag); };
    if (!variable.starts_with(own) && std::ranges::none_of(flags, is_slip)) continue;
    complaints.push_back(fmt::format("environment variable {} sets no flag of tidelog {}{}",
                                     variable, fmt::join(command_path(command), " "),
                                     did_you_mean(variable, names)));
  }
  return complaints;
}

}  // namespace tidelog::tools
