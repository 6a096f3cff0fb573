// Two brokers on one directory: the second is told which process holds it.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "log/io/file_system_kind.h"
#include "log/io/system_file.h"
#include "log/io/system_file_system.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kWritesInFlight = 24;
constexpr std::size_t kWriteBlocks = 1024;  // 4 MiB

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

// As the first process of a container finds it that was killed and started again: its own number.
TEST(DirectoryLockTest, AnEarlierProcessWithTheSameNumberIsWaitedFor) {
  const TemporaryDirectory directory;
  Holder holder(directory.path());
  ASSERT_TRUE(holder.locked());
  std::ofstream(directory.path() + "/lock") << ::getpid() << " 1\n";
  std::thread killer([&holder] { holder.kill(); });
  SystemFileSystem files(false);
  const auto lock = files.lock_directory(directory.path());
  killer.join();
  EXPECT_TRUE(lock.has_value()) << lock.error().to_string();
}

// A process whose ring writes a file over and over until it is killed.
void write_until_killed(const std::string& path, int ready) {
  std::string why_not;
  const auto world = IoWorld::make(World::kRingDirect, why_not);
  if (!world) ::_exit(77);
  const std::string directory = path.substr(0, path.rfind('/'));
  auto lock = world->files().lock_directory(directory);
  if (!lock || !world->queue().hold(std::move(*lock))) ::_exit(1);
  auto file = world->files().open(path, {.mode = OpenMode::kWrite, .direct = true});
  if (!file || ::flock(system_file(**file).fd(), LOCK_EX) != 0) ::_exit(1);
  const Buffer buffer = pattern(kWriteBlocks, 'b');
  const std::span<const std::byte> piece = buffer.bytes();
  for (std::size_t i = 0; i < kWritesInFlight; ++i) {
    world->queue().write(**file, FilePosition(i * piece.size()), {&piece, 1}, Durability::kDurable,
                         [](const Result<>&) {});
  }
  world->queue().submit();
  if (::write(ready, "y", 1) != 1) ::_exit(1);
  for (;;) ::pause();
}

TEST(DirectoryLockTest, NoWriteOfAKilledProcessLandsOnceItsDirectoryIsLockedAnew) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/data";
  {
    std::ofstream file(path);
    file << std::string(kWritesInFlight * kWriteBlocks * kBlockBytes, 'a');
  }
  // Else the writes of the ring wait in its own threads, for those of the cache.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(::fsync(fd), 0);
  ::close(fd);
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) write_until_killed(path, ready[1]);
  ::close(ready[1]);
  char answer = '?';
  const bool is_writing = ::read(ready[0], &answer, 1) == 1;
  ::close(ready[0]);
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (!is_writing && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "no io_uring with O_DIRECT here";
  }
  ASSERT_TRUE(is_writing);
  SystemFileSystem files(true);
  const auto lock = files.lock_directory(directory.path());
  ASSERT_TRUE(lock.has_value()) << lock.error().to_string();
  // The lock of the file that was written to ends with the last of those writes.
  const int written = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(::flock(written, LOCK_EX | LOCK_NB), 0) << "somebody still writes";
  ::close(written);
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

// Whether the page cache holds the first page of a file.
bool is_cached(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  void* page = ::mmap(nullptr, kBlockBytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  EXPECT_NE(page, MAP_FAILED);
  unsigned char resident = 0;
  EXPECT_EQ(::mincore(page, kBlockBytes, &resident), 0);
  ::munmap(page, kBlockBytes);
  return (resident & 1U) != 0;
}

TEST(DirectoryLockTest, ALockedDirectoryIsReadFromTheDeviceAndNotFromMemory) {
  const TemporaryDirectory directory;
  if (file_system_kind(directory.path())->type == "tmpfs") GTEST_SKIP() << "tmpfs is memory";
  const std::string below = directory.path() + "/journal";
  ASSERT_EQ(::mkdir(below.c_str(), 0700), 0);
  const std::vector<std::string> paths{directory.path() + "/checkpoint.0", below + "/0-0"};
  SystemFileSystem buffered(false);
  for (const bool direct : {true, false}) {
    for (const std::string& path : paths) {
      const auto file =
          buffered.open(path, {.mode = direct ? OpenMode::kCreate : OpenMode::kWrite}).value();
      ASSERT_TRUE(file->write_at(FilePosition(0), pattern(1).bytes()).has_value());
      ASSERT_TRUE(file->sync_data().has_value());
      ASSERT_TRUE(is_cached(path));
    }
    SystemFileSystem files(direct);
    const auto lock = files.lock_directory(directory.path());
    ASSERT_TRUE(lock.has_value()) << lock.error().to_string();
    EXPECT_FALSE(is_cached(paths[0]));
    EXPECT_EQ(is_cached(paths[1]), direct) << "what is written unbuffered is read so";
  }
}

TEST(DirectoryLockTest, WhatCannotBeReadIsLeftToWhoReadsIt) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::symlink("/proc/nonexistent", (directory.path() + "/dangling").c_str()), 0);
  ASSERT_EQ(::mkfifo((directory.path() + "/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mkdir((directory.path() + "/lost+found").c_str(), 0), 0);
  SystemFileSystem files(false);
  const auto lock = files.lock_directory(directory.path());
  EXPECT_TRUE(lock.has_value()) << lock.error().to_string();
}

}  // namespace
}  // namespace tidelog::log::io
