// Breaks one rule of the storage (log/rules.h) after the other, in a program of its own
// (broken_log), and sees that the random histories notice, which find nothing wrong where no rule
// is broken, or a test of log_tests.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/log/broken_rules.h"

namespace tidelog::log {
namespace {

// Seeds mean something else when the histories change: then the search goes on from the one that is
// noted, and this many should do.
constexpr int kHistoriesMax = 6000;

struct Ended {
  bool well = false;
  std::string said;
};

Ended run(const std::string& arguments) {
  const std::string command = fmt::format("'{}' {} 2>&1", TIDELOG_BROKEN_LOG, arguments);
  std::FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  Ended ended;
  if (pipe == nullptr) return ended;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    ended.said.append(buffer.data(), got);
  }
  ended.well = pclose(pipe) == 0;
  return ended;
}

// Of the history that was tried last.
std::string last_seed(const std::string& said) {
  const std::size_t at = said.rfind("seed ");
  if (at == std::string::npos) return "0";
  return said.substr(at + 5, said.find('\n', at) - at - 5);
}

class BrokenRuleTest : public testing::TestWithParam<RuleCase> {};

TEST_P(BrokenRuleTest, IsNoticedAndNothingIsWhereItIsKept) {
  const RuleCase& rule = GetParam();
  const std::string breaks = fmt::format("--break {} ", rule.name);
  if (rule.seed != 0) {
    const Ended broken =
        run(fmt::format("{}--histories {} --seed {}", breaks, kHistoriesMax, rule.seed));
    EXPECT_FALSE(broken.well) << "no history notices";
    const std::string seed = last_seed(broken.said);
    fmt::print("seed {}: {}\n", seed, broken.said.substr(broken.said.rfind("seed ")));
    const Ended kept = run(fmt::format("--histories 1 --seed {}", seed));
    EXPECT_TRUE(kept.well) << kept.said;
  } else {
    const std::string tests = fmt::format("'--gtest_filter={}'", rule.tests);
    const Ended broken = run(breaks + tests);
    EXPECT_FALSE(broken.well) << "no test notices";
    // Where no rule is broken log_tests runs it.
    EXPECT_TRUE(broken.said.contains("[ RUN      ]")) << broken.said;
  }
}

INSTANTIATE_TEST_SUITE_P(All, BrokenRuleTest, testing::ValuesIn(rule_cases()),
                         [](const auto& one) { return std::string(one.param.name + 1); });

TEST(BrokenRulesTest, ThePageListsThemAll) {
  std::ifstream file(TIDELOG_SOURCE_DIR "/tests/log/RULES.md");
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  EXPECT_TRUE(page.ends_with(rules_as_markdown())) << "broken_log --list writes the table anew:\n"
                                                   << rules_as_markdown();
}

TEST(BrokenRulesTest, EachRuleStandsInItsPlace) {
  std::size_t at = 0;
  for (const RuleCase& rule : rule_cases()) {
    EXPECT_EQ(static_cast<std::size_t>(rule.rule), at++) << rule.name;
    EXPECT_NE(rule.seed == 0, std::string_view(rule.tests).empty()) << rule.name;
  }
}

}  // namespace
}  // namespace tidelog::log
