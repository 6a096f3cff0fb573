// The reference pages that are written from the code: settings, metrics, commands.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

namespace tidelog::tools {

// docs/configuration.md: every setting of brokers and topics.
std::string configuration_page();

// docs/metrics.md: every metric of /metrics.
std::string metrics_page();

// Manual pages of section 1 in roff, by file name ("tidelog-topic-create.1"): one of each command
// under `root`, from what its --help says.
std::map<std::string, std::string> manual_pages(CLI::App& root);

}  // namespace tidelog::tools
