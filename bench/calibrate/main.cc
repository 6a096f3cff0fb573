// tidelog_calibrate DIRECTORY [--seconds S] [--json]: what the disk under DIRECTORY and loopback
// allow, each limit with a sentence of what it is.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <nlohmann/json.hpp>

#include "bench/calibrate/calibrate.h"

namespace tidelog::bench {
namespace {

Limits measure_all(const std::string& directory, double seconds) {
  Limits all = measure_disk(directory, seconds);
  for (const Limits& more : {measure_many_files(directory, seconds), measure_loopback(seconds),
                             measure_floor(directory, seconds)}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

void print_json(const Limits& limits) {
  auto listed = nlohmann::ordered_json::array();
  for (const Limit& limit : limits) {
    listed.push_back({{"name", limit.name},
                      {"value", limit.value},
                      {"digits", limit.digits},
                      {"meaning", limit.meaning}});
  }
  fmt::print("{}\n", listed.dump(2));
}

void print_text(const Limits& limits) {
  for (const Limit& limit : limits) {
    fmt::print("{:<28}{:>12.{}f}  {}\n", limit.name, limit.value, limit.digits, limit.meaning);
  }
}

}  // namespace
}  // namespace tidelog::bench

int main(int argc, char** argv) {
  CLI::App app("What the disk under a directory and loopback allow");
  std::string directory;
  double seconds = 2;
  bool is_json = false;
  app.add_option("DIRECTORY", directory, "On the disk in question; some 600 MiB are used")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("--seconds", seconds, "Of each of the measurements, twenty or so")
      ->check(CLI::Range(0.01, 60.0))
      ->capture_default_str();
  app.add_flag("--json", is_json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  const auto limits = tidelog::bench::measure_all(directory, seconds);
  if (is_json) {
    tidelog::bench::print_json(limits);
  } else {
    tidelog::bench::print_text(limits);
  }
  return 0;
}
