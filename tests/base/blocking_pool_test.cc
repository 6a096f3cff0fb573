#include "base/blocking_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace tidelog {
namespace {

// An executor that the test's own thread runs.
class QueueExecutor final : public Executor {
 public:
  void post(Task task) override {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }
  TimerId run_after(std::chrono::microseconds, Task) override { return 0; }
  void cancel(TimerId) override {}
  const Clock& clock() const override { return system_clock(); }

  void run_one() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !tasks_.empty(); });
    Task task = std::move(tasks_.front());
    tasks_.erase(tasks_.begin());
    lock.unlock();
    task();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Task> tasks_;
};

TEST(BlockingPoolTest, RunsJobsElsewhereAndTheirEndsAtHome) {
  QueueExecutor home;
  BlockingPool pool("test", 2);
  std::thread::id job_thread;
  std::thread::id done_thread;
  pool.run([&] { job_thread = std::this_thread::get_id(); }, home,
           [&] { done_thread = std::this_thread::get_id(); });
  home.run_one();
  EXPECT_NE(job_thread, std::this_thread::get_id());
  EXPECT_NE(job_thread, std::thread::id());
  EXPECT_EQ(done_thread, std::this_thread::get_id());
}

TEST(BlockingPoolTest, CountsTheJobsThatNoThreadHasBegun) {
  QueueExecutor home;
  std::mutex held;
  std::unique_lock hold(held);
  BlockingPool pool("test", 1);
  pool.run([&] { const std::lock_guard wait(held); }, home, [] {});
  while (pool.waiting() > 0) std::this_thread::yield();  // until the one thread has begun it
  for (int i = 0; i < 3; ++i) pool.run([] {}, home, [] {});
  EXPECT_EQ(pool.waiting(), 3U);
  hold.unlock();
  for (int i = 0; i < 4; ++i) home.run_one();
  EXPECT_EQ(pool.waiting(), 0U);
}

TEST(BlockingPoolTest, KeepsTheOrderWithOneThread) {
  QueueExecutor home;
  BlockingPool pool("test", 1);
  std::vector<int> jobs;
  std::vector<int> ends;
  for (int i = 0; i < 100; ++i) {
    pool.run([&jobs, i] { jobs.push_back(i); }, home, [&ends, i] { ends.push_back(i); });
  }
  for (int i = 0; i < 100; ++i) home.run_one();
  EXPECT_EQ(jobs, ends);
  EXPECT_TRUE(std::ranges::is_sorted(jobs));
}

TEST(BlockingPoolTest, FinishesWhatItWasGivenBeforeItGoes) {
  QueueExecutor home;
  int ran = 0;
  {
    BlockingPool pool("test", 1);
    for (int i = 0; i < 50; ++i) pool.run([&ran] { ++ran; }, home, [] {});
  }
  EXPECT_EQ(ran, 50);
}

#ifndef NDEBUG
TEST(BlockingPoolDeathTest, StopsABlockingCallOnAShardsThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  check_may_block("open");
  EXPECT_DEATH(
      {
        mark_nonblocking_thread();
        check_may_block("unlink");
      },
      "unlink");
}
#endif

}  // namespace
}  // namespace tidelog
