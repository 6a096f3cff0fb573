// The log with one of its rules (log/rules.h) broken, and everything that should notice: random
// histories, or tests of log_tests.
//
//   broken_log --list                                      the rules, and what notices each
//   broken_log --break RULE --histories N --seed S         histories until one goes wrong
//   broken_log --break RULE --gtest_filter=...             tests of log_tests
//
// Without --break no rule is broken. The exit code is 1, or that of a CHECK, when something is
// noticed.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/logging.h"
#include "tests/log/broken_rules.h"
#include "tests/log/random_history.h"

namespace tidelog::log {
namespace {

std::optional<Rule> broken_rule;

struct Request {
  std::uint64_t histories = 0;
  std::uint64_t seed = 1;
  bool list = false;
};

bool take_number(std::string_view text, std::uint64_t& number) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size();
}

// False: not understood.
bool take(std::string_view flag, std::string_view value, Request& request) {
  if (flag == "--histories") return take_number(value, request.histories);
  if (flag == "--seed") return take_number(value, request.seed);
  if (flag != "--break") return false;
  const auto named = std::ranges::find(rule_cases(), value, &RuleCase::name);
  if (named == rule_cases().end()) return false;
  broken_rule = named->rule;
  return true;
}

int run_histories(const Request& request) {
  for (std::uint64_t seed = request.seed; seed < request.seed + request.histories; ++seed) {
    // Told first: a CHECK may end this process.
    fmt::print("seed {}\n", seed);
    std::fflush(stdout);
    RandomHistory history(seed);
    const std::string complaint = history.run();
    if (complaint.empty()) continue;
    fmt::print("{}\n", complaint);
    return 1;
  }
  return 0;
}

int run(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  Request request;
  for (int i = 1; i < argc; i += 2) {
    if (std::string_view(argv[i]) == "--list") {
      fmt::print("{}", rules_as_markdown());
      return 0;
    }
    if (i + 1 == argc || !take(argv[i], argv[i + 1], request)) {
      fmt::print(
          stderr,
          "usage: {} [--list] [--break RULE] [--histories N --seed S | --gtest_filter=...]\n",
          argv[0]);
      return 2;
    }
  }
  set_log_level(LogLevel::kOff);
  return request.histories > 0 ? run_histories(request) : RUN_ALL_TESTS();
}

}  // namespace

inline namespace breakable {
bool broken(Rule rule) { return rule == broken_rule; }
}  // namespace breakable

}  // namespace tidelog::log

int main(int argc, char** argv) { return tidelog::log::run(argc, argv); }
