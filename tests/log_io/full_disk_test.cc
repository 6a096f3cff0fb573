// No space left, for real: a limit on file sizes, and (as root) a small ext4 on a loop device.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

#include "log/io/make_io_queue.h"
#include "log/io/probe_loop.h"
#include "log/io/system_file_system.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

using ::testing::HasSubstr;

// Writes and waits, through the queue that the backend gives in `directory`.
class QueueOn {
 public:
  QueueOn(const std::string& directory, IoBackend backend)
      : profile_(probe_storage(directory, {.backend = backend})) {
    if (!profile_) return;
    files_ = std::make_unique<SystemFileSystem>(profile_->direct);
    // The loop's posts are not for other threads: the ring alone runs on it.
    queue_ = make_io_queue(backend, *profile_, loop_, loop_.watcher()).value();
  }

  const Result<StorageProfile>& profile() const { return profile_; }
  FileSystem& files() { return *files_; }
  Result<> write(File& file, std::uint64_t block, std::span<const std::byte> bytes) {
    std::optional<Result<>> result;
    queue_->write(file, FilePosition(block * kBlockBytes), {&bytes, 1}, Durability::kDurable,
                  [&](Result<> ended) { result = std::move(ended); });
    queue_->submit();
    EXPECT_TRUE(loop_.run_until([&] { return result.has_value(); }, std::chrono::seconds(10)));
    return *result;
  }

 private:
  Result<StorageProfile> profile_;
  std::unique_ptr<SystemFileSystem> files_;
  ProbeLoop loop_;
  std::unique_ptr<IoQueue> queue_;
};

// Makes writes beyond a size fail while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    former_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, former_handler_);
  }

 private:
  rlimit before_{};
  void (*former_handler_)(int) = nullptr;
};

TEST(FullDiskTest, ALimitOnFileSizesIsReportedAsFullStorage) {
  const TemporaryDirectory directory;
  SystemFileSystem files(false);
  auto file = files.open(directory.path() + "/f", {.mode = OpenMode::kCreate});
  const Buffer bytes = pattern(4);
  const FileSizeLimit limit(2 * kBlockBytes);
  const Result<> written = (*file)->write_at(FilePosition(0), bytes.bytes());
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code(), ErrorCode::kStorageFull);
  EXPECT_THAT(written.error().message(), HasSubstr(directory.path()));
  EXPECT_EQ((*file)->allocate(FilePosition(0), 4 * kBlockBytes).error().code(),
            ErrorCode::kStorageFull);
}

// An ext4 of 8 MiB on a loop device, mounted while it lives.
class SmallDisk {
 public:
  SmallDisk() {
    if (::geteuid() != 0) {
      why_not_ = "mounting a small disk needs root";
      return;
    }
    const std::string image = directory_.path() + "/image";
    mount_point_ = directory_.path() + "/disk";
    const std::string command = fmt::format(
        "truncate -s 8M {0} && mkfs.ext4 -q -F {0} && mkdir {1} && mount -o loop {0} {1}", image,
        mount_point_);
    if (std::system((command + " > " + directory_.path() + "/log 2>&1").c_str()) == 0) {
      mounted_ = true;
      return;
    }
    std::ifstream log(directory_.path() + "/log");
    why_not_ = std::string(std::istreambuf_iterator<char>(log), {});
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(mount_point_.c_str(), MNT_DETACH);
  }

  bool mounted() const { return mounted_; }
  const std::string& why_not() const { return why_not_; }
  const std::string& path() const { return mount_point_; }

 private:
  TemporaryDirectory directory_;
  std::string mount_point_;
  bool mounted_ = false;
  std::string why_not_;
};

class SmallDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << disk_.why_not();
  }
  SmallDisk disk_;
};

TEST_F(SmallDiskTest, WritesFailWithFullStorageAndGoOnWhenSpaceIsBack) {
  QueueOn queue(disk_.path(), IoBackend::kRing);
  if (!queue.profile()) GTEST_SKIP() << queue.profile().error().to_string();
  const Buffer bytes = pattern(64);
  auto file = queue.files().open(disk_.path() + "/f", {.mode = OpenMode::kCreate, .direct = true});
  ASSERT_TRUE(file.has_value());
  Result<> written;
  std::uint64_t block = 0;
  for (; block < 4096 && written; block += 64) written = queue.write(**file, block, bytes.bytes());
  ASSERT_FALSE(written.has_value()) << "8 MiB are full by now";
  EXPECT_EQ(written.error().code(), ErrorCode::kStorageFull);
  EXPECT_EQ((*file)->allocate(FilePosition(block * kBlockBytes), 1 << 20).error().code(),
            ErrorCode::kStorageFull);
  EXPECT_LT(queue.files().space(disk_.path())->free_bytes, 1U << 20);

  // The probe of a broker that starts now says so, and finds the ring all the same.
  const auto profile = probe_storage(disk_.path(), {.backend = IoBackend::kRing});
  ASSERT_TRUE(profile.has_value()) << profile.error().to_string();
  EXPECT_TRUE(profile->ring);

  ASSERT_TRUE((*file)->truncate(0).has_value());
  EXPECT_TRUE(queue.write(**file, 0, bytes.bytes()).has_value());
}

TEST_F(SmallDiskTest, TheProbeFindsDirectDurableWritesOnExt4) {
  const auto profile = probe_storage(disk_.path(), {.backend = IoBackend::kThreads});
  ASSERT_TRUE(profile.has_value());
  EXPECT_TRUE(profile->direct);
  EXPECT_TRUE(profile->dsync);
  EXPECT_EQ(profile->file_system.type, "ext4");
  EXPECT_EQ(profile->file_system.mount_point, disk_.path());
  EXPECT_TRUE(profile->stable());
}

}  // namespace
}  // namespace tidelog::log::io
