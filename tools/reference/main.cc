// reference: writes the pages that come from the code.
//
//   reference docs DIR         writes DIR/configuration.md and DIR/metrics.md
//   reference docs-check DIR   exit 1, and the command that helps, when one of them is stale
//   reference man DIR          writes the manual pages
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "tools/command_line.h"
#include "tools/commands/commands.h"
#include "tools/reference/pages.h"

namespace {

using Pages = std::map<std::string, std::string>;

Pages documents() {
  return {{"configuration.md", tidelog::tools::configuration_page()},
          {"metrics.md", tidelog::tools::metrics_page()}};
}

int write(const std::filesystem::path& directory, const Pages& pages) {
  for (const auto& [name, text] : pages) {
    std::ofstream file(directory / name, std::ios::binary | std::ios::trunc);
    file << text;
    if (!file.flush()) {
      fmt::print(stderr, "reference: cannot write {}\n", (directory / name).string());
      return 1;
    }
  }
  return 0;
}

int check(const std::string& program, const std::filesystem::path& directory) {
  int code = 0;
  for (const auto& [name, text] : documents()) {
    std::ifstream file(directory / name, std::ios::binary);
    const std::string there{std::istreambuf_iterator<char>(file), {}};
    if (there == text) continue;
    fmt::print(stderr, "{} is stale; write it again: {} docs {}\n", (directory / name).string(),
               program, directory.string());
    code = 1;
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 3 ? argv[1] : "";
  if (what == "docs") return write(argv[2], documents());
  if (what == "docs-check") return check(argv[0], argv[2]);
  if (what == "man") {
    tidelog::tools::CommandLine line;
    tidelog::tools::add_all_commands(line);
    return write(argv[2], tidelog::tools::manual_pages(line.root()));
  }
  fmt::print(stderr, "usage: reference docs|docs-check|man DIRECTORY\n");
  return 2;
}
