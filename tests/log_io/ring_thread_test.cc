// A ring belongs to the thread that submits first, wherever it was made.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "log/io/probe_loop.h"
#include "log/io/ring_io_queue.h"
#include "log/io/storage_probe.h"
#include "log/io/system_file_system.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

class RingThreadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto profile = probe_storage(directory_.path(), {.backend = IoBackend::kRing});
    if (!profile) GTEST_SKIP() << profile.error().to_string();
    SystemFileSystem files(profile->direct);
    file_ =
        std::move(files.open(directory_.path() + "/f", {.mode = OpenMode::kCreate, .direct = true}))
            .value();
    ring_ = std::move(RingIoQueue::create(loop_, {.dsync = profile->dsync,
                                                  .in_kernel_max = 4,
                                                  .watcher = loop_.watcher()}))
                .value();
  }
  void write(std::uint64_t block) {
    const std::span<const std::byte> bytes = bytes_.bytes();
    ring_->write(*file_, FilePosition(block * bytes.size()), {&bytes, 1}, Durability::kDurable,
                 [this](const Result<>& result) {
                   EXPECT_TRUE(result.has_value());
                   ++ended_;
                 });
  }

  TemporaryDirectory directory_;
  ProbeLoop loop_;
  Buffer bytes_ = pattern(16);
  std::unique_ptr<File> file_;
  std::unique_ptr<RingIoQueue> ring_;
  int ended_ = 0;
};

TEST_F(RingThreadTest, IsMadeOnOneThreadAndUsedOnAnother) {
  std::thread shard([this] {
    for (std::uint64_t block = 0; block < 20; ++block) write(block);  // five times what it holds
    ring_->submit();
    EXPECT_TRUE(loop_.run_until([this] { return ended_ == 20; }, std::chrono::seconds(10)));
  });
  shard.join();
  EXPECT_EQ(ended_, 20);
  EXPECT_EQ(ring_->in_flight(), 0U);
}

TEST_F(RingThreadTest, EndsAfterItsThreadWithWritesUnderWay) {
  std::thread shard([this] {
    for (std::uint64_t block = 0; block < 20; ++block) write(block);
    ring_->submit();
  });
  shard.join();
  ring_.reset();
  EXPECT_EQ(ended_, 0);
}

}  // namespace
}  // namespace tidelog::log::io
