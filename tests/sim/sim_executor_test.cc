#include "tests/sim/sim_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tidelog::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

class SimExecutorTest : public ::testing::Test {
 protected:
  Task note(std::string what) {
    return [this, what = std::move(what)] { seen_.push_back(what); };
  }
  SimExecutor executor_;
  std::vector<std::string> seen_;
};

TEST_F(SimExecutorTest, RunsTasksInTheOrderPostedAndNeverInsideThePost) {
  executor_.post([this] {
    executor_.post(note("third"));
    seen_.push_back("first");
  });
  executor_.post(note("second"));
  EXPECT_TRUE(seen_.empty());
  executor_.run_until_idle();
  EXPECT_THAT(seen_, ElementsAre("first", "second", "third"));
}

TEST_F(SimExecutorTest, RunsTimersByTheirTimeAndEndsExactlyThere) {
  const SteadyTime begin = executor_.clock().now();
  const std::int64_t wall = executor_.clock().wall_us();
  executor_.run_after(seconds(2), note("late"));
  executor_.run_after(seconds(1), note("early"));
  const TimerId never = executor_.run_after(seconds(1), note("never"));
  executor_.cancel(never);
  executor_.run_for(seconds(1));
  EXPECT_THAT(seen_, ElementsAre("early"));
  executor_.run_for(seconds(5));
  EXPECT_THAT(seen_, ElementsAre("early", "late"));
  EXPECT_EQ(executor_.clock().now() - begin, seconds(6));
  EXPECT_EQ(executor_.clock().wall_us() - wall, 6'000'000);
}

TEST_F(SimExecutorTest, ComesToRestWhileATimerWaits) {
  executor_.run_after(seconds(1), note("timer"));
  executor_.happen_after(microseconds(300), note("disk"));
  executor_.run_until_idle();
  EXPECT_THAT(seen_, ElementsAre("disk"));
}

TEST_F(SimExecutorTest, RunsABlockingJobAndItsDoneAsSeparateSteps) {
  executor_.run(note("job 1"), executor_, note("done 1"));
  executor_.run(note("job 2"), executor_, note("done 2"));
  EXPECT_TRUE(executor_.step());
  EXPECT_THAT(seen_, ElementsAre("job 1"));
  executor_.run_until_idle();
  EXPECT_THAT(seen_, ElementsAre("job 1", "done 1", "job 2", "done 2"));
}

TEST_F(SimExecutorTest, EndsEachTurnWithTheHooks) {
  executor_.at_end_of_turn([this] { seen_.push_back("end"); });
  executor_.post([this] {
    seen_.push_back("a");
    executor_.post(note("c"));
  });
  executor_.post(note("b"));
  executor_.run_until_idle();
  EXPECT_THAT(seen_, ElementsAre("end", "a", "b", "end", "c", "end"));
}

TEST_F(SimExecutorTest, WaitsForAConditionWithinALimit) {
  bool ready = false;
  executor_.run_after(seconds(3), [&] { ready = true; });
  EXPECT_FALSE(executor_.run_until([&] { return ready; }, seconds(2)));
  EXPECT_TRUE(executor_.run_until([&] { return ready; }, seconds(2)));
}

TEST_F(SimExecutorTest, JumpsOfTheWallClockLeaveTheSteadyClockAlone) {
  const SteadyTime before = executor_.clock().now();
  const std::int64_t wall = executor_.clock().wall_us();
  executor_.sim_clock().jump_wall(-seconds(10));
  EXPECT_EQ(executor_.clock().now(), before);
  EXPECT_EQ(executor_.clock().wall_us(), wall - 10'000'000);
}

}  // namespace
}  // namespace tidelog::sim
