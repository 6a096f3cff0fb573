// Random histories of a data directory under seeds: see random_history.h.
//
//   random_histories                            what CI runs: a few hundred seeds
//   random_histories --histories N --seed S     N of them, from seed S on
//   random_histories --histories 1 --seed S     replays one, and tells each step
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/logging.h"
#include "tests/log/random_history.h"

namespace tidelog::log {
namespace {

std::uint64_t histories = 400;
std::uint64_t first_seed = 1;
const char* program = "random_histories";

TEST(RandomHistoriesTest, LoseNothingRepeatNothingAlterNothingAndGoOn) {
  HistoryCounts all;
  for (std::uint64_t seed = first_seed; seed < first_seed + histories; ++seed) {
    RandomHistory history(seed, histories == 1);
    const std::string complaint = history.run();
    all += history.counts();
    ASSERT_EQ(complaint, "") << "replay: " << program << " --histories 1 --seed " << seed;
    if ((seed - first_seed + 1) % 5000 == 0) {
      fmt::print("up to seed {}: {}\n", seed, all.to_string());
      std::fflush(stdout);
    }
  }
  fmt::print("{} histories from seed {}: {}\n", histories, first_seed, all.to_string());
  if (histories < 100) return;
  // A run that tried none of these would prove nothing.
  EXPECT_GT(all.power_cuts, histories);
  EXPECT_GT(all.power_cuts_in_recovery, histories / 10);
  EXPECT_GT(all.clean_stops, histories / 4);
  EXPECT_GT(all.failed_disks, histories / 10);
  EXPECT_GT(all.restarts_on_failed_disks, histories / 25);
  EXPECT_GT(all.duplicates, histories / 4);
  EXPECT_GT(all.truncations, histories / 4);
  EXPECT_GT(all.removals, histories / 10);
}

// Each of them found a bug. What they do changes with the histories; they cost next to nothing.
TEST(RandomHistoriesTest, SeedsThatOnceFoundABugFindNone) {
  for (const std::uint64_t seed :
       {11420U, 44404U, 55747U, 62021U, 74272U, 101745U, 106306U, 110454U, 118169U, 119689U,
        120673U, 143260U, 162520U, 181598U, 187961U, 203114U, 731043U, 742150U}) {
    EXPECT_EQ(RandomHistory(seed).run(), "") << "seed " << seed;
  }
}

bool take_number(const char* text, std::uint64_t& number) {
  const char* end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, number);
  return read.ec == std::errc() && read.ptr == end;
}

}  // namespace
}  // namespace tidelog::log

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  tidelog::log::program = argv[0];
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    std::uint64_t* number = flag == "--histories" ? &tidelog::log::histories
                            : flag == "--seed"    ? &tidelog::log::first_seed
                                                  : nullptr;
    if (number == nullptr || i + 1 == argc || !tidelog::log::take_number(argv[i + 1], *number)) {
      fmt::print(stderr, "usage: {} [--histories N] [--seed S]\n", argv[0]);
      return 2;
    }
  }
  // Each start tells what it found; that is many lines, and all of it is checked.
  tidelog::set_log_level(tidelog::LogLevel::kOff);
  return RUN_ALL_TESTS();
}
