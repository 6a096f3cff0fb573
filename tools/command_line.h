// The command line: one CLI11 application, its commands, and usage errors that say what to do next.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tools/precedence.h"

namespace tidelog::tools {

// Exit codes of every command; after Ctrl-C it is 130.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Commands with this flag take their defaults from profiles, too.
inline constexpr const char* kProfileFlag = "--profile";

class CommandLine {
 public:
  CommandLine();

  CLI::App& root() { return root_; }
  // Adds the command `name` to `parent`; `run` is called when it was chosen and returns the exit
  // code. A run that returns a usage error (kInvalidArgument) is reported as one. Help, completion,
  // environment names and profiles follow from the options that the command is given; a type name
  // such as "all|leader|none", "FILE" or "TOPIC" says what its value can be.
  CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description,
                        const std::string& example, std::function<Result<int>()> run);

  // For options that exclude each other; without it a variable or a profile that meets such an
  // option on the line is a usage error. REQUIRES: `command` has all the options that are named.
  void add_yields(const CLI::App& command, std::vector<Yield> yields);
  // Two that exclude each other whichever comes first.
  void add_rivals(const CLI::App& command, const std::string& one, const std::string& other);

  // Parses and runs. Returns the exit code of the process.
  int run(int argc, const char* const* argv);

 private:
  void finish_commands();
  void prepare_chosen(CLI::App& command);
  int run_chosen();
  std::string origin_of(const CLI::App& app, std::string_view message) const;
  int report_usage_error(const CLI::ParseError& error);

  CLI::App root_;
  std::function<Result<int>()> chosen_;
  std::map<const CLI::App*, std::vector<Yield>> yields_;
  std::vector<std::string> words_;  // of the command line, last first
  GivenOptions on_line_;
  std::vector<std::string> warnings_;
  std::optional<Error> profile_error_;
};

// `result`, its error behind the flag that it concerns ("--timeout: '5' is no duration"): a usage
// error that begins so also says where the value came from.
template <typename T>
Result<T> of_flag(std::string_view flag, Result<T> result) {
  if (result) return result;
  return fail(result.error().with_context(flag));
}

// An option that may be given several times and takes one value each time.
CLI::Option* add_repeated(CLI::App& command, const std::string& names,
                          std::vector<std::string>& values, const std::string& description);

}  // namespace tidelog::tools
