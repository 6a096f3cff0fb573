#include "log/io/system_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/blocking_pool.h"
#include "base/bytes.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

using ::testing::HasSubstr;

class SystemFileSystemTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  std::unique_ptr<File> create(const std::string& name, std::string_view bytes = "") {
    auto file = files_.open(path(name), {.mode = OpenMode::kCreate});
    EXPECT_TRUE(file.has_value()) << file.error().to_string();
    EXPECT_TRUE((*file)->write_at(FilePosition(0), as_bytes(bytes)).has_value());
    return std::move(file).value();
  }
  std::string read(const std::string& name) {
    auto file = files_.open(path(name), {});
    EXPECT_TRUE(file.has_value()) << file.error().to_string();
    std::vector<std::byte> bytes(*(*file)->size());
    EXPECT_EQ(*(*file)->read_at(FilePosition(0), bytes), bytes.size());
    return std::string(as_text(bytes));
  }

  TemporaryDirectory directory_;
  SystemFileSystem files_{false};
};

TEST_F(SystemFileSystemTest, WritesAndReadsAtAnyPositionWhenBuffered) {
  auto file = create("f", "hello");
  ASSERT_TRUE(file->write_at(FilePosition(7), as_bytes("world")).has_value());
  ASSERT_TRUE(file->sync_data().has_value());
  EXPECT_EQ(read("f"), std::string("hello\0\0world", 12));
  std::array<std::byte, 100> into;
  EXPECT_EQ(*file->read_at(FilePosition(9), into), 3U);
  EXPECT_EQ(*file->read_at(FilePosition(12), into), 0U);
}

TEST_F(SystemFileSystemTest, WhatIsPassedOverOnTheWayToDataReadsAsZeros) {
  constexpr std::uint64_t kSize = 1 << 20;
  constexpr std::uint64_t kAt = 600'000;
  auto file = create("f");
  ASSERT_TRUE(file->allocate(FilePosition(0), kSize).has_value());
  ASSERT_TRUE(file->write_at(FilePosition(kAt), as_bytes("x")).has_value());
  std::vector<std::byte> bytes(kSize);
  ASSERT_EQ(*file->read_at(FilePosition(0), bytes), kSize);
  // A file system that cannot tell passes over nothing.
  for (const std::uint64_t from : {std::uint64_t{0}, kAt, kAt + 1, kSize - 1}) {
    const auto to = file->next_data(FilePosition(from));
    ASSERT_TRUE(to.has_value()) << to.error().to_string();
    EXPECT_GE(to->value(), from);
    EXPECT_LE(to->value(), from <= kAt ? kAt : kSize);
    EXPECT_TRUE(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                            bytes.begin() + static_cast<std::ptrdiff_t>(to->value()),
                            [](std::byte byte) { return byte == std::byte{0}; }));
  }
  EXPECT_EQ(file->next_data(FilePosition(kAt)), FilePosition(kAt));
  EXPECT_EQ(file->next_data(FilePosition(kSize)), FilePosition(kSize));
}

TEST_F(SystemFileSystemTest, FailuresNameTheFileAndTheCause) {
  create("f");
  const auto missing = files_.open(path("none"), {});
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("/none'"));
  EXPECT_EQ(files_.open(path("f"), {.mode = OpenMode::kCreate}).error().code(),
            ErrorCode::kAlreadyExists);
  EXPECT_THAT(files_.open(directory_.path(), {}).error().message(),
              HasSubstr("not a regular file"));
  EXPECT_EQ(files_.remove_file(path("none")).error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(files_.remove_directory(directory_.path()).error().message(), HasSubstr("not empty"));
  EXPECT_EQ(files_.rename(path("none"), path("g")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(files_.list(path("none")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(files_.sync_directory(path("none")).error().code(), ErrorCode::kNotFound);
  // Made of nothing that could be synced.
  const auto unsynced = files_.sync_directory("/proc");
  EXPECT_TRUE(unsynced || unsynced.error().code() == ErrorCode::kUnsupportedFeature)
      << unsynced.error().to_string();
}

TEST_F(SystemFileSystemTest, MakesListsRenamesAndRemoves) {
  ASSERT_TRUE(files_.make_directories(path("a/b/c")).has_value());
  ASSERT_TRUE(files_.make_directories(path("a/b/c")).has_value()) << "they may exist";
  create("a/z", "new");
  create("a/y", "old");
  const auto entries = files_.list(path("a"));
  ASSERT_EQ(entries->size(), 3U);
  EXPECT_EQ((*entries)[0].name, "b");
  EXPECT_TRUE((*entries)[0].is_directory);
  EXPECT_EQ((*entries)[1].name, "y");
  EXPECT_FALSE((*entries)[1].is_directory);
  ASSERT_TRUE(files_.rename(path("a/z"), path("a/y")).has_value());
  EXPECT_EQ(read("a/y"), "new");
  EXPECT_FALSE(*files_.exists(path("a/z")));
  EXPECT_TRUE(*files_.exists(path("a/y")));
  ASSERT_TRUE(files_.sync_directory(path("a")).has_value());
  ASSERT_TRUE(files_.remove_file(path("a/y")).has_value());
  ASSERT_TRUE(files_.remove_directory(path("a/b/c")).has_value());
  EXPECT_FALSE(*files_.exists(path("a/b/c")));
}

TEST_F(SystemFileSystemTest, AFileIsNoDirectory) {
  create("f");
  EXPECT_EQ(files_.make_directories(path("f")).error().code(), ErrorCode::kStorageFailed);
  EXPECT_FALSE(files_.make_directories(path("f/g")).has_value());
}

TEST_F(SystemFileSystemTest, FilesAreNotOpenToOtherUsers) {
  create("f");
  struct stat status{};
  ASSERT_EQ(::stat(path("f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07U, 0U);
}

TEST_F(SystemFileSystemTest, TellsTheSpaceThatIsLeft) {
  const auto space = files_.space(directory_.path());
  ASSERT_TRUE(space.has_value());
  EXPECT_GT(space->free_bytes, 0U);
  EXPECT_LE(space->free_bytes, space->total_bytes);
}

#ifndef NDEBUG
TEST_F(SystemFileSystemTest, BlockingCallsAreRefusedOnAShard) {
  auto file = create("f");
  GTEST_FLAG_SET(death_test_style, "fast");
  const auto on_a_shard = [&](auto call) {
    mark_nonblocking_thread();
    call();
  };
  EXPECT_DEATH(on_a_shard([&] { (void)file->sync_data(); }), "fdatasync");
  EXPECT_DEATH(on_a_shard([&] { (void)files_.open(path("f"), {}); }), "open");
  EXPECT_DEATH(on_a_shard([&] { (void)files_.remove_file(path("f")); }), "unlink");
}
#endif

}  // namespace
}  // namespace tidelog::log::io
