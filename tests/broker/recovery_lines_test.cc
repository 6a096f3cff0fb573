#include "broker/recovery_lines.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_executor.h"

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;

TEST(RecoveryLinesTest, SaysEveryFiveSecondsHowFarItIsAndNothingOfAShortStart) {
  sim::SimExecutor executor;
  RecoveryLines lines(executor.clock());
  log::RecoveryProgress progress{.journals = 2,
                                 .journals_read = 1,
                                 .logs = 10'000,
                                 .logs_examined = 5'000,
                                 .logs_recovered = 4'000};
  EXPECT_EQ(lines.next(progress), std::nullopt);
  executor.run_for(milliseconds(4999));
  EXPECT_EQ(lines.next(progress), std::nullopt);
  executor.run_for(milliseconds(1));
  EXPECT_EQ(lines.next(progress),
            "still recovering: 1 of 2 journals read, 5000 of 10000 logs examined, 4000 recovered");
  EXPECT_EQ(lines.next(progress), std::nullopt);
  executor.run_for(milliseconds(12'000));
  progress.logs_recovered = 4'500;
  EXPECT_TRUE(lines.next(progress)->ends_with("4500 recovered"));
  EXPECT_EQ(lines.next(progress), std::nullopt);
}

}  // namespace
}  // namespace tidelog::broker
