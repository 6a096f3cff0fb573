#include "log/io/storage_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "log/io/make_io_queue.h"
#include "log/io/probe_loop.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(StorageProbeTest, SaysInOneSentenceHowADirectoryIsWritten) {
  const TemporaryDirectory directory;
  const auto profile = probe_storage(directory.path(), {});
  ASSERT_TRUE(profile.has_value()) << profile.error().to_string();
  EXPECT_THAT(profile->summary, StartsWith("'" + directory.path() + "' on "));
  EXPECT_THAT(profile->summary, HasSubstr(profile->ring ? "io_uring" : "threads"));
  EXPECT_THAT(profile->mode(), HasSubstr(profile->direct ? "O_DIRECT" : "buffered"));
}

TEST(StorageProbeTest, LeavesNothingBehind) {
  const TemporaryDirectory directory;
  ASSERT_TRUE(probe_storage(directory.path(), {}).has_value());
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(StorageProbeTest, MakesTheDirectory) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/new/data";
  ASSERT_TRUE(probe_storage(path, {}).has_value());
  EXPECT_TRUE(std::filesystem::is_directory(path));
}

TEST(StorageProbeTest, SaysThatMemoryIsNoStableStorage) {
  const auto kind = file_system_kind("/dev/shm");
  if (!kind || kind->type != "tmpfs") GTEST_SKIP() << "/dev/shm is no tmpfs here";
  const TemporaryDirectory directory("/dev/shm");
  const auto profile = probe_storage(directory.path(), {});
  ASSERT_TRUE(profile.has_value()) << profile.error().to_string();
  EXPECT_FALSE(profile->stable());
  EXPECT_THAT(profile->warnings,
              Contains(AllOf(HasSubstr("not on stable storage"), HasSubstr("tmpfs"))));
}

TEST(StorageProbeTest, UsesThreadsWhenToldTo) {
  const TemporaryDirectory directory;
  const auto profile = probe_storage(directory.path(), {.backend = IoBackend::kThreads});
  ASSERT_TRUE(profile.has_value());
  EXPECT_FALSE(profile->ring);
  EXPECT_THAT(profile->mode(), StartsWith("threads"));
  ProbeLoop loop;
  const auto queue = make_io_queue(IoBackend::kThreads, *profile, loop, {});
  ASSERT_TRUE(queue.has_value());
  EXPECT_EQ((*queue)->description(), profile->mode());
}

TEST(StorageProbeTest, AProfileWithoutARingGetsThreads) {
  const TemporaryDirectory directory;
  auto profile = probe_storage(directory.path(), {});
  ASSERT_TRUE(profile.has_value());
  profile->ring = false;
  ProbeLoop loop;
  const auto queue = make_io_queue(IoBackend::kAuto, *profile, loop, loop.watcher());
  ASSERT_TRUE(queue.has_value());
  EXPECT_THAT(std::string((*queue)->description()), StartsWith("threads"));
}

TEST(StorageProbeTest, FailsWhereNothingCanBeWritten) {
  const auto profile = probe_storage("/proc/self", {});
  ASSERT_FALSE(profile.has_value());
  EXPECT_THAT(profile.error().message(), HasSubstr("/proc/self"));
}

TEST(StorageProbeTest, BackendsHaveNames) {
  for (const IoBackend backend : {IoBackend::kAuto, IoBackend::kRing, IoBackend::kThreads}) {
    EXPECT_EQ(*parse_io_backend(to_string(backend)), backend);
  }
  const auto unknown = parse_io_backend("rings");
  EXPECT_EQ(unknown.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(unknown.error().message(), HasSubstr("auto, ring or threads"));
}

}  // namespace
}  // namespace tidelog::log::io
