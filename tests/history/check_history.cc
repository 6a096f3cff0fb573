// check_history [FILE]: reads a history, lines of JSON as in history_lines.h, from FILE or stdin.
//
// Prints each complaint as a line and exits with 1 when there is any, with 2 when the history
// cannot be read. An empty line asks what is wrong so far: the answer is the complaints, then a
// line "-- N records, M complaints", so that a program can run it beside a test and ask often.
#include <fmt/core.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "tests/history/history_lines.h"

namespace {

using tidelog::history::Checker;

std::size_t report(const Checker& checker) {
  const auto complaints = checker.complaints();
  for (const auto& complaint : complaints) fmt::print("{}\n", complaint.to_string());
  fmt::print("-- {} records, {} complaints\n", checker.records(), complaints.size());
  std::fflush(stdout);
  return complaints.size();
}

int check(std::istream& lines, const std::string& name) {
  Checker checker;
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) {
      report(checker);
      continue;
    }
    if (const auto applied = tidelog::history::apply_line(checker, line); !applied) {
      fmt::print(stderr, "{}:{}: {}\n", name, number, applied.error().message());
      return 2;
    }
  }
  return report(checker) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  if (argc < 2) return check(std::cin, "stdin");
  std::ifstream file(argv[1]);
  if (!file) {
    fmt::print(stderr, "{} cannot be read\n", argv[1]);
    return 2;
  }
  return check(file, argv[1]);
}
