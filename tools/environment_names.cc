#include "tools/environment_names.h"

#include <algorithm>

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
  std::string prefix;
  for (const std::string& word : command_path(command)) prefix += word + ".";
  std::vector<FlagVariable> flags;
  for (CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty() || option == command.get_help_ptr()) continue;
    if (option->get_description().find(kPrefix) != std::string::npos) continue;
    const std::string& name = option->get_lnames().front();
    const std::string& shared = option->get_envname();
    const std::string key = shared.empty() ? prefix + name : name;
    flags.push_back({option, key, shared.empty() ? kPrefix + upper_case(key) : shared});
  }
  return flags;
}

}  // namespace tidelog::tools
