// Completion scripts for shells, made from the command tree.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace tidelog::tools {

// Each completes commands, options, values of options whose type names its choices ("a|b|c"),
// files, and topics, for which it asks the brokers for at most three seconds.
std::string bash_completion(const CLI::App& root);
std::string zsh_completion(const CLI::App& root);
std::string fish_completion(const CLI::App& root);

}  // namespace tidelog::tools
