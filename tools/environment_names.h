// The environment variable of every flag: TIDELOG_, the command, and the flag's first long name,
// as in TIDELOG_CONSUME_FORMAT; without the command where all commands share the flag
// (TIDELOG_BROKERS).
#pragma once

#include <CLI/CLI.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace tidelog::tools {

struct FlagVariable {
  CLI::Option* option;
  // As profiles write it: "consume.format", or "brokers" for a shared flag.
  std::string key;
  std::string variable;

  // It may be given several times.
  bool repeats() const { return option->get_expected_max() > 1; }
  // Its one value is a list with commas between.
  bool takes_commas() const { return option->get_type_name().ends_with(",..."); }
};

// The flags of `command` that an environment variable may set, in their order. Those whose
// description names a variable itself are read by their command and left out, as are --help and
// positional words.
std::vector<FlagVariable> flag_variables(CLI::App& command);

// Sentences about the variables of the process that look as if they set flags of `command`, and do
// not: those that begin as its own do, and those one or two letters beside one of `flags` (as
// flag_variables() gives them). `known` are the variables of all commands; settings of the broker
// are known, too. None of a command that reads variables itself.
std::vector<std::string> complain_about_variables(const CLI::App& command,
                                                  std::span<const FlagVariable> flags,
                                                  const std::set<std::string>& known);

// The words that lead to `command`, without the binary's name: {"topic", "create"}.
std::vector<std::string> command_path(const CLI::App& command);

// All commands without commands of their own, below `app`.
std::vector<CLI::App*> leaf_commands(CLI::App& app);

}  // namespace tidelog::tools
