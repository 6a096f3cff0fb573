#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "tests/wire/transport_fixture.h"

namespace tidelog::wire {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class AsioExecutorTest : public TransportTest {};

TEST_F(AsioExecutorTest, RunsTasksInTheOrderPostedAndNeverInsidePost) {
  std::vector<int> order;
  executor_.post([&] {
    executor_.post([&] {
      order.push_back(3);
      executor_.post([&] { order.push_back(4); });
    });
    order.push_back(1);
  });
  executor_.post([&] { order.push_back(2); });
  EXPECT_TRUE(order.empty());
  run_until([&] { return order.size() == 4; });
  EXPECT_EQ(order, (std::vector{1, 2, 3, 4}));
}

TEST_F(AsioExecutorTest, WakesForPostsOfOtherThreadsAndKeepsEachThreadsOrder) {
  constexpr int kThreads = 3;
  constexpr int kPosts = 2000;
  std::vector<std::vector<int>> seen(kThreads);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, &seen] {
      for (int i = 0; i < kPosts; ++i) {
        executor_.post([t, i, &seen] { seen[static_cast<std::size_t>(t)].push_back(i); });
      }
    });
  }
  run_until([&] {
    return std::ranges::all_of(seen, [](const auto& one) { return one.size() == kPosts; });
  });
  for (std::thread& thread : threads) thread.join();
  for (const auto& one : seen) EXPECT_TRUE(std::ranges::is_sorted(one));
}

TEST_F(AsioExecutorTest, RunsTimersByTheirTimeAndForgetsCancelledOnes) {
  std::vector<int> order;
  const SteadyTime start = executor_.clock().now();
  executor_.run_after(milliseconds(30), [&] { order.push_back(3); });
  const TimerId cancelled = executor_.run_after(milliseconds(1), [&] { order.push_back(9); });
  executor_.run_after(milliseconds(10), [&] {
    order.push_back(2);
    executor_.run_after(microseconds(100), [&] { order.push_back(4); });
  });
  executor_.run_after(microseconds(200), [&] { order.push_back(1); });
  executor_.cancel(cancelled);
  executor_.cancel(cancelled);
  run_until([&] { return order.size() == 4; });
  EXPECT_GE(executor_.clock().now() - start, milliseconds(30));
  // On a machine that is late the third may be due before the fourth was asked for.
  EXPECT_LT(std::ranges::find(order, 2), std::ranges::find(order, 4));
  std::erase(order, 4);
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
}

TEST_F(AsioExecutorTest, CallsTheTurnHookBehindTheTasksOfATurnAndRunsWhatItPosts) {
  std::vector<std::string> events;
  executor_.post([&] { events.emplace_back("a"); });
  executor_.post([&] { events.emplace_back("b"); });
  bool posted = false;
  executor_.set_turn_hook([&] {
    if (events.empty()) return;
    events.emplace_back("hook");
    if (!std::exchange(posted, true)) {
      executor_.post([&] {
        events.emplace_back("from the hook");
        executor_.stop();
      });
    }
  });
  executor_.run();
  EXPECT_EQ(events, (std::vector<std::string>{"a", "b", "hook", "from the hook", "hook"}));
}

TEST_F(AsioExecutorTest, KnowsWhenATurnBeganWithoutTheTimeItWaited) {
  const SteadyTime armed = executor_.clock().now();
  SteadyTime ran;
  SteadyTime began;
  executor_.run_after(milliseconds(50), [&] {
    ran = executor_.clock().now();
    began = executor_.turn_began_at();
  });
  run_until([&] { return ran != SteadyTime(); });
  EXPECT_GE(began, armed + milliseconds(50));
  EXPECT_LE(began, ran);
}

TEST_F(AsioExecutorTest, AnnouncesAnEventfdOnceForEachRoundOfWrites) {
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  ASSERT_GE(fd, 0);
  int calls = 0;
  executor_.watch_eventfd(fd, [&] { ++calls; });
  for (int round = 1; round <= 3; ++round) {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(fd, &one, sizeof one), 8);
    ASSERT_EQ(::write(fd, &one, sizeof one), 8);
    run_until([&] { return calls == round; });
    settle();
    EXPECT_EQ(calls, round);
  }
  executor_.unwatch_eventfd(fd);
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(fd, &one, sizeof one), 8);
  settle();
  EXPECT_EQ(calls, 3);
  ::close(fd);
}

TEST_F(AsioExecutorTest, StopsFromAnotherThreadAndRunsAgain) {
  for (int i = 0; i < 3; ++i) {
    std::thread other([this] { executor_.stop(); });
    executor_.run();
    other.join();
  }
  bool ran = false;
  executor_.post([&] { ran = true; });
  run_until([&] { return ran; });
}

TEST(AsioExecutorLifeTest, DropsWhatNeverRanWhenItGoes) {
  const auto held = std::make_shared<int>(1);
  {
    AsioExecutor executor;
    executor.post([held] { ADD_FAILURE(); });
    executor.run_after(std::chrono::hours(1), [held] { ADD_FAILURE(); });
    EXPECT_EQ(held.use_count(), 3);
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace tidelog::wire
