// The commands that change a topic that exists: alter, add-partitions, trim.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/command_line.h"

namespace tidelog::tools {

// "key=value" pairs of --set. Fails with kInvalidArgument.
Result<std::map<std::string, std::string>> parse_settings(const std::vector<std::string>& pairs);

void add_topic_changes(CommandLine& line, CLI::App& topic);

}  // namespace tidelog::tools
