// Profiles: defaults for flags, kept in ~/.config/tidelog/config.toml.
//
//   profile = "local"                    # used where neither --profile nor TIDELOG_PROFILE says
//   [profiles.local]
//   brokers = "127.0.0.1:9700"           # flags that all commands share
//   [profiles.local.consume]
//   format = "%k %v\n"                   # the long name of a flag of `tidelog consume`
//   [profiles.local.topic.create]
//   partitions = 4
//
//   [profiles.local.produce]
//   header = ["source=here", "v=1"]      # of a flag that may be repeated, or whose value is a list
//
// A flag beats its environment variable, which beats the profile. Of a flag that may be repeated a
// variable gives one value.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/environment_names.h"

namespace tidelog::tools {

// $XDG_CONFIG_HOME/tidelog/config.toml, else $HOME/.config/tidelog/config.toml; empty when neither
// variable is set.
std::string profiles_path();

// Of flags that a profile gives a list, its values by variable.
using ProfileLists = std::map<std::string, std::vector<std::string>>;

// Puts the values of a profile into the environment, where it has none yet; returns the lists among
// them, of which the environment got the first values. `wanted`: the name
// given with --profile or TIDELOG_PROFILE; nullopt: the one the file names, or none. `known` are
// the flags of all commands that take profiles. A missing file is as good as an empty one.
// Fails with kInvalidArgument: no such profile, or anything in the file that is not understood,
// also in other profiles; messages begin with "FILE:LINE" where there is one.
// REQUIRES: no other thread runs.
Result<ProfileLists> apply_profile(const std::string& path,
                                   const std::optional<std::string>& wanted,
                                   std::span<const FlagVariable> known);

}  // namespace tidelog::tools
