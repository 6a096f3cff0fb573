// What the kernel says seldom: it lacked memory for a moment; a sync failed.
//
// This program's own pwritev2(), fdatasync() and io_uring_peek_batch_cqe() stand before those of
// the libraries, so that a test can let them fail.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <vector>

#include "log/io/probe_loop.h"
#include "log/io/ring_io_queue.h"
#include "log/io/system_file_system.h"
#include "log/io/thread_io_queue.h"
#include "tests/log_io/io_fixture.h"
#include "wire/transport/asio_transport.h"

namespace {

// So many calls fail with EAGAIN, or with EIO; of a ring, so many completions say that.
std::atomic<int> pwritev2_lacks_memory = 0;
std::atomic<int> pwritev2_calls = 0;
std::atomic<int> fdatasync_fails = 0;
std::atomic<int> ring_lacks_memory = 0;
std::atomic<int> ring_syncs_fail = 0;

bool take_one(std::atomic<int>& count) {
  int left = count;
  while (left > 0 && !count.compare_exchange_weak(left, left - 1)) {
  }
  return left > 0;
}

}  // namespace

struct io_uring;

extern "C" ssize_t pwritev2(int fd, const iovec* pieces, int count, off_t position, int flags) {
  ++pwritev2_calls;
  if (take_one(pwritev2_lacks_memory)) {
    errno = EAGAIN;
    return -1;
  }
  return ::syscall(SYS_pwritev2, fd, pieces, count, position, 0, flags);
}

extern "C" int fdatasync(int fd) {
  if (take_one(fdatasync_fails)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" unsigned io_uring_peek_batch_cqe(io_uring* ring, io_uring_cqe** found, unsigned room) {
  static const auto real = reinterpret_cast<unsigned (*)(io_uring*, io_uring_cqe**, unsigned)>(
      ::dlsym(RTLD_NEXT, "io_uring_peek_batch_cqe"));
  const unsigned count = real(ring, found, room);
  for (unsigned i = 0; i < count; ++i) {
    if (take_one(ring_lacks_memory)) found[i]->res = -EAGAIN;
    if (found[i]->res == 0 && take_one(ring_syncs_fail)) found[i]->res = -EIO;
  }
  return count;
}

namespace tidelog::log::io {
namespace {

constexpr std::chrono::seconds kLimit{10};

// A loop whose timers are due when the test says so.
class HandLoop final : public Executor {
 public:
  void post(Task task) override { loop_.post(std::move(task)); }
  TimerId run_after(std::chrono::microseconds delay, Task task) override {
    EXPECT_GT(delay.count(), 0);
    timers_.push_back(std::move(task));
    return ++started_;
  }
  void cancel(TimerId /*timer*/) override { timers_.clear(); }
  const Clock& clock() const override { return loop_.clock(); }

  EventWatcher watcher() { return loop_.watcher(); }
  bool run_until(const std::function<bool()>& condition) {
    return loop_.run_until(condition, kLimit);
  }
  std::size_t timers() const { return timers_.size(); }
  std::size_t started() const { return started_; }
  void fire() {
    std::vector<Task> due = std::exchange(timers_, {});
    for (Task& task : due) task();
  }

 private:
  ProbeLoop loop_;
  std::vector<Task> timers_;
  TimerId started_ = 0;
};

class RingFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SystemFileSystem files(false);
    file_ = files.open(directory_.path() + "/f", {.mode = OpenMode::kCreate}).value();
  }
  void TearDown() override {
    ring_.reset();
    ring_lacks_memory = 0;
    ring_syncs_fail = 0;
  }
  void start(int retries_max = kRetriesMax) {
    auto ring = RingIoQueue::create(
        loop_, {.in_kernel_max = 4, .retries_max = retries_max, .watcher = loop_.watcher()});
    if (!ring) GTEST_SKIP() << ring.error().to_string();
    ring_ = std::move(ring).value();
  }
  void write(std::uint64_t block, Durability durability) {
    const std::span<const std::byte> bytes = bytes_.bytes();
    ring_->write(*file_, FilePosition(block * kBlockBytes), {&bytes, 1}, durability,
                 [this](Result<> result) { ended_.push_back(std::move(result)); });
  }
  bool run_until_ended_or_delayed(std::size_t count) {
    ring_->submit();
    return loop_.run_until([&] { return ended_.size() == count || loop_.timers() == 1; });
  }

  TemporaryDirectory directory_;
  HandLoop loop_;
  Buffer bytes_ = pattern(1);
  std::unique_ptr<File> file_;
  std::unique_ptr<RingIoQueue> ring_;
  std::vector<Result<>> ended_;
};

TEST_F(RingFaultsTest, WhatTheKernelLackedMemoryForIsTriedAgainAfterAMoment) {
  start();
  if (IsSkipped()) return;
  ring_lacks_memory = 3;
  write(0, Durability::kPlain);
  for (std::size_t attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_TRUE(run_until_ended_or_delayed(1));
    ASSERT_TRUE(ended_.empty()) << "after attempt " << attempt;
    EXPECT_EQ(loop_.started(), attempt);
    loop_.fire();
  }
  ASSERT_TRUE(run_until_ended_or_delayed(1));
  ASSERT_EQ(ended_.size(), 1U);
  EXPECT_TRUE(ended_[0].has_value());
  EXPECT_EQ(loop_.started(), 3U);
}

TEST_F(RingFaultsTest, ALackOfMemoryThatDoesNotPassIsAnErrorInTheEnd) {
  start(/*retries_max=*/3);
  if (IsSkipped()) return;
  ring_lacks_memory = 1000;
  write(0, Durability::kPlain);
  while (ended_.empty()) {
    ASSERT_TRUE(run_until_ended_or_delayed(1));
    loop_.fire();
  }
  ASSERT_FALSE(ended_[0].has_value());
  EXPECT_EQ(ended_[0].error().code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(loop_.started(), 3U);
}

// The kernel tells an error of an open file once. Whose bytes it took is not known, so it ends both
// writes that were under way, and all later ones.
TEST_F(RingFaultsTest, AFailedSyncEndsEveryWriteToTheFileThatIsNotStableYet) {
  start();
  if (IsSkipped()) return;
  ring_syncs_fail = 1;
  write(0, Durability::kDurable);
  write(1, Durability::kDurable);
  ASSERT_TRUE(run_until_ended_or_delayed(2));
  write(2, Durability::kDurable);
  ASSERT_TRUE(run_until_ended_or_delayed(3));
  ASSERT_EQ(ended_.size(), 3U);
  for (const Result<>& result : ended_) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code(), ErrorCode::kStorageFailed);
  }
}

class ThreadFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SystemFileSystem files(false);
    file_ = files.open(directory_.path() + "/f", {.mode = OpenMode::kCreate}).value();
    executor_.set_turn_hook([this] {
      if (queue_) queue_->submit();
      if (ended_.size() == wanted_) executor_.stop();
    });
  }
  void TearDown() override {
    queue_.reset();
    pwritev2_lacks_memory = 0;
    fdatasync_fails = 0;
  }
  void start(const ThreadIoOptions& options) {
    queue_ = std::make_unique<ThreadIoQueue>(executor_, options);
  }
  void write(std::uint64_t block) {
    const std::span<const std::byte> bytes = bytes_.bytes();
    queue_->write(*file_, FilePosition(block * kBlockBytes), {&bytes, 1}, Durability::kDurable,
                  [this](Result<> result) { ended_.push_back(std::move(result)); });
  }
  void run_until_ended(std::size_t count) {
    wanted_ = count;
    const TimerId limit = executor_.run_after(kLimit, [this] { executor_.stop(); });
    executor_.post([] {});
    executor_.run();
    executor_.cancel(limit);
    ASSERT_EQ(ended_.size(), count);
  }

  TemporaryDirectory directory_;
  wire::AsioExecutor executor_;
  Buffer bytes_ = pattern(1);
  std::unique_ptr<File> file_;
  std::unique_ptr<ThreadIoQueue> queue_;
  std::size_t wanted_ = 0;
  std::vector<Result<>> ended_;
};

TEST_F(ThreadFaultsTest, WhatTheKernelLackedMemoryForIsTriedAgain) {
  start({});
  pwritev2_lacks_memory = 3;
  write(0);
  run_until_ended(1);
  EXPECT_TRUE(ended_[0].has_value());
  EXPECT_EQ(*file_->size(), kBlockBytes);
}

TEST_F(ThreadFaultsTest, ALackOfMemoryThatDoesNotPassIsAnErrorInTheEnd) {
  start({.retries_max = 2});
  pwritev2_lacks_memory = 1000;
  pwritev2_calls = 0;
  write(0);
  run_until_ended(1);
  ASSERT_FALSE(ended_[0].has_value());
  EXPECT_EQ(ended_[0].error().code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(pwritev2_calls, 3);
}

// The kernel tells an error of an open file once. Whose bytes it took is not known, so it ends both
// writes that were under way, and all later ones.
TEST_F(ThreadFaultsTest, AFailedSyncEndsEveryWriteToTheFileThatIsNotStableYet) {
  start({.dsync = false});
  fdatasync_fails = 1;
  write(0);
  write(1);
  run_until_ended(2);
  write(2);
  run_until_ended(3);
  for (const Result<>& result : ended_) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code(), ErrorCode::kStorageFailed);
  }
  EXPECT_FALSE(file_->sync_data().has_value());
}

// An error that RWF_DSYNC reports of a page cache may be another write's: no write then ends well
// by it.
TEST_F(ThreadFaultsTest, AFileWithAPageCacheIsSyncedByItself) {
  start({.dsync = true});
  fdatasync_fails = 1;
  write(0);
  run_until_ended(1);
  EXPECT_FALSE(ended_[0].has_value());
}

class SyncedFileTest : public ::testing::TestWithParam<World> {};

TEST_P(SyncedFileTest, NoSyncEndsWellBehindOneThatFailed) {
  std::string why_not;
  const auto world = IoWorld::make(GetParam(), why_not);
  if (world == nullptr) GTEST_SKIP() << why_not;
  const auto file = world->files().open(world->path("f"), {.mode = OpenMode::kCreate}).value();
  const Buffer bytes = pattern(1);
  const std::span<const std::byte> piece = bytes.bytes();
  std::vector<bool> ended;
  const auto note = [&ended](const Result<>& result) { ended.push_back(result.has_value()); };
  const auto sync_twice_and_write = [&] {
    world->queue().sync(*file, note);
    world->queue().sync(*file, note);
    world->queue().write(*file, FilePosition(0), {&piece, 1}, Durability::kDurable, note);
    const std::size_t wanted = ended.size() + 3;
    world->run_until([&] { return ended.size() == wanted; });
  };
  sync_twice_and_write();
  system_file(*file).note_failed_sync();
  sync_twice_and_write();
  EXPECT_EQ(ended, (std::vector<bool>{true, true, true, false, false, false}));
}

INSTANTIATE_TEST_SUITE_P(Queues, SyncedFileTest,
                         ::testing::Values(World::kRingFdatasync, World::kRingBuffered,
                                           World::kThreadsBuffered),
                         [](const auto& info) { return to_string(info.param); });

}  // namespace
}  // namespace tidelog::log::io
