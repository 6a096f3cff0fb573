#include "tools/profiles.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
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
  // Of each profile, its values by variable: several of flags that are repeated.
  std::map<std::string, ProfileLists> values;
};

// What the flag is given; `place` is "FILE:LINE". Fails with kInvalidArgument.
Result<std::vector<std::string>> values_of(broker::FileSetting& entry, const FlagVariable& flag,
                                           const std::string& place) {
  if (!entry.items) return std::vector{std::move(entry.value)};
  if (std::ranges::find(*entry.items, "") != entry.items->end()) {
    return refuse(fmt::format("{}: an item of '{}' is empty", place, flag.key));
  }
  if (flag.repeats()) return std::move(*entry.items);
  if (!flag.takes_commas()) {
    return refuse(fmt::format("{}: '{}' takes one value, no list", place, flag.key));
  }
  if (entry.items->empty()) return std::vector<std::string>();
  return std::vector{fmt::format("{}", fmt::join(*entry.items, ","))};
}

Result<Profiles> read_profiles(const std::string& path, std::span<const FlagVariable> known) {
  std::map<std::string, const FlagVariable*> flags;
  for (const FlagVariable& flag : known) flags[flag.key] = &flag;
  std::vector<std::string> keys;
  for (const auto& [key, flag] : flags) keys.push_back(key);

  auto entries = broker::read_settings_file(path, broker::Lists::kTake);
  if (!entries) return refuse(entries.error().message());
  Profiles profiles;
  for (broker::FileSetting& entry : *entries) {
    const std::string place = fmt::format("{}:{}", path, entry.line);
    if (entry.name == kDefaultKey) {
      if (entry.items)
        return refuse(fmt::format("{}: '{}' is one name, no list", place, kDefaultKey));
      profiles.default_name = std::move(entry.value);
      continue;
    }
    const std::string_view name = entry.name;
    const std::size_t dot = name.starts_with(kTable) ? name.find('.', kTable.size()) : name.npos;
    if (dot == name.npos) {
      return refuse(
          fmt::format("{}: '{}' is not understood; there are profile = \"NAME\" and "
                      "[profiles.NAME]",
                      place, name));
    }
    const std::string key(name.substr(dot + 1));
    const auto flag = flags.find(key);
    if (flag == flags.end()) {
      return refuse(
          fmt::format("{}: no flag is called '{}'{}", place, key, did_you_mean(key, keys)));
    }
    const std::string profile(name.substr(kTable.size(), dot - kTable.size()));
    TIDELOG_ASSIGN(profiles.values[profile][flag->second->variable],
                   values_of(entry, *flag->second, place));
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

Result<ProfileLists> apply_profile(const std::string& path,
                                   const std::optional<std::string>& wanted,
                                   std::span<const FlagVariable> known) {
  if (path.empty() || access(path.c_str(), F_OK) != 0) {
    if (!wanted) return ProfileLists();
    return refuse(fmt::format("there is no profile '{}': {} does not exist", *wanted,
                              path.empty() ? "~/.config/tidelog/config.toml" : path));
  }
  TIDELOG_ASSIGN(Profiles profiles, read_profiles(path, known));
  const std::optional<std::string>& chosen = wanted ? wanted : profiles.default_name;
  if (!chosen) return ProfileLists();
  const auto values = profiles.values.find(*chosen);
  if (values == profiles.values.end()) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : profiles.values) names.push_back(name);
    return refuse(fmt::format("there is no profile '{}' in {}{}", *chosen, path,
                              did_you_mean(*chosen, names)));
  }
  ProfileLists lists;
  for (auto& [variable, given] : values->second) {
    if (given.empty() || std::getenv(variable.c_str()) != nullptr) continue;
    if (setenv(variable.c_str(), given.front().c_str(), /*overwrite=*/0) != 0) {
      return refuse(fmt::format("profile '{}': {} cannot be set", *chosen, variable));
    }
    if (given.size() > 1) lists.emplace(variable, std::move(given));
  }
  return lists;
}

}  // namespace tidelog::tools
