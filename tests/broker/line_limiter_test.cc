#include "broker/line_limiter.h"

#include <gtest/gtest.h>

namespace tidelog::broker {
namespace {

using std::chrono::milliseconds;

TEST(LineLimiterTest, LeavesOutWhatIsBeyondItsShareAndSaysHowMuch) {
  LineLimiter limiter(3, milliseconds(100));
  const SteadyTime begin{};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.admit(begin + milliseconds(i)), 0U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(limiter.admit(begin + milliseconds(99)), std::nullopt);
  EXPECT_EQ(limiter.admit(begin + milliseconds(100)), 50U);
  EXPECT_EQ(limiter.admit(begin + milliseconds(101)), 0U);
  EXPECT_EQ(limiter.admit(begin + milliseconds(102)), 0U);
  EXPECT_EQ(limiter.admit(begin + milliseconds(150)), std::nullopt);
}

}  // namespace
}  // namespace tidelog::broker
