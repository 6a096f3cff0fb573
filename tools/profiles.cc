#include "tools/profiles.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "broker/settings_file.h"
#include "tools/suggestion.h"

namespace tidelog::tools {
namespace {

constexpr std::string_view kDefaultKey = "profile";
constexpr std::string_view kTable = "profiles.";

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

struct Profiles {
  std::optional<std::string> default_name;
  // Of each profile, its values by variable.
  std::map<std::string, std::map<std::string, std::string>> values;
};

Result<Profiles> read_profiles(const std::string& path, std::span<const FlagVariable> known) {
  std::map<std::string, std::string> variables;
  for (const FlagVariable& flag : known) variables[flag.key] = flag.variable;
  std::vector<std::string> keys;
  for (const auto& [key, variable] : variables) keys.push_back(key);

  auto entries = broker::read_settings_file(path);
  if (!entries) return refuse(entries.error().message());
  Profiles profiles;
  for (broker::FileSetting& entry : *entries) {
    if (entry.name == kDefaultKey) {
      profiles.default_name = std::move(entry.value);
      continue;
    }
    const std::string_view name = entry.name;
    const std::size_t dot = name.starts_with(kTable) ? name.find('.', kTable.size()) : name.npos;
    if (dot == name.npos) {
      return refuse(
          fmt::format("{}:{}: '{}' is not understood; there are profile = \"NAME\" and "
                      "[profiles.NAME]",
                      path, entry.line, name));
    }
    const std::string key(name.substr(dot + 1));
    const auto variable = variables.find(key);
    if (variable == variables.end()) {
      return refuse(fmt::format("{}:{}: no flag is called '{}'{}", path, entry.line, key,
                                did_you_mean(key, keys)));
    }
    const std::string profile(name.substr(kTable.size(), dot - kTable.size()));
    profiles.values[profile][variable->second] = std::move(entry.value);
  }
  return profiles;
}

}  // namespace

std::string profiles_path() {
  const char* config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && config[0] == '/') return fmt::format("{}/tidelog/config.toml", config);
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] == '\0') return "";
  return fmt::format("{}/.config/tidelog/config.toml", home);
}

Result<> apply_profile(const std::string& path, const std::optional<std::string>& wanted,
                       std::span<const FlagVariable> known) {
  if (path.empty() || access(path.c_str(), F_OK) != 0) {
    if (!wanted) return {};
    return refuse(fmt::format("there is no profile '{}': {} does not exist", *wanted,
                              path.empty() ? "~/.config/tidelog/config.toml" : path));
  }
  TIDELOG_ASSIGN(const Profiles profiles, read_profiles(path, known));
  const std::optional<std::string>& chosen = wanted ? wanted : profiles.default_name;
  if (!chosen) return {};
  const auto values = profiles.values.find(*chosen);
  if (values == profiles.values.end()) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : profiles.values) names.push_back(name);
    return refuse(fmt::format("there is no profile '{}' in {}{}", *chosen, path,
                              did_you_mean(*chosen, names)));
  }
  for (const auto& [variable, value] : values->second) {
    if (setenv(variable.c_str(), value.c_str(), /*overwrite=*/0) != 0) {
      return refuse(fmt::format("profile '{}': {} cannot be set", *chosen, variable));
    }
  }
  return {};
}

}  // namespace tidelog::tools
