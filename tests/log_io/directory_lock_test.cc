// Two brokers on one directory: the second is told which process holds it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "log/io/system_file_system.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

using ::testing::HasSubstr;

// A process that holds the directory until it is killed.
class Holder {
 public:
  explicit Holder(const std::string& directory) {
    std::array<int, 2> ready{};
    if (::pipe(ready.data()) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      SystemFileSystem files(false);
      const auto lock = files.lock_directory(directory);
      const char answer = lock.has_value() ? 'y' : 'n';
      if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char answer = '?';
    locked_ = ::read(ready[0], &answer, 1) == 1 && answer == 'y';
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Holder() { kill(); }

  pid_t pid() const { return pid_; }
  bool locked() const { return locked_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool locked_ = false;
};

TEST(DirectoryLockTest, AnotherProcessIsToldWhoHoldsTheDirectory) {
  const TemporaryDirectory directory;
  const Holder holder(directory.path());
  ASSERT_TRUE(holder.locked());
  SystemFileSystem files(false);
  const auto lock = files.lock_directory(directory.path());
  ASSERT_FALSE(lock.has_value());
  EXPECT_EQ(lock.error().code(), ErrorCode::kDirectoryInUse);
  EXPECT_THAT(lock.error().message(), HasSubstr(fmt::format("by process {}", holder.pid())));
  EXPECT_THAT(lock.error().message(), HasSubstr(directory.path()));
}

TEST(DirectoryLockTest, TheLockOfAKilledProcessIsFree) {
  const TemporaryDirectory directory;
  Holder holder(directory.path());
  ASSERT_TRUE(holder.locked());
  holder.kill();
  SystemFileSystem files(false);
  EXPECT_TRUE(files.lock_directory(directory.path()).has_value());
}

TEST(DirectoryLockTest, OneProcessCannotLockTwice) {
  const TemporaryDirectory directory;
  SystemFileSystem files(false);
  auto lock = files.lock_directory(directory.path());
  ASSERT_TRUE(lock.has_value());
  EXPECT_EQ(files.lock_directory(directory.path()).error().code(), ErrorCode::kDirectoryInUse);
  lock->reset();
  EXPECT_TRUE(files.lock_directory(directory.path()).has_value());
}

TEST(DirectoryLockTest, ADirectoryThatIsNotThereCannotBeLocked) {
  SystemFileSystem files(false);
  EXPECT_EQ(files.lock_directory("/proc/nonexistent").error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace tidelog::log::io
