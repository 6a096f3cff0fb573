#include "tests/sim/sim_io_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "base/buffer_pool.h"
#include "base/bytes.h"

namespace tidelog::sim {
namespace {

using log::io::Durability;
using log::io::File;
using log::io::kBlockBytes;
using log::io::OpenMode;
using std::chrono::microseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SimIoQueueTest : public ::testing::Test {
 protected:
  SimIoQueueTest() {
    disk_.put("f", as_bytes(std::string(8 * kBlockBytes, '.')));
    file_ = std::move(disk_.open("f", {.mode = OpenMode::kWrite, .direct = true})).value();
  }

  // Writes blocks full of `fill`; the bytes live as long as the test.
  void write(std::uint64_t block, char fill, Durability durability = Durability::kDurable,
             std::size_t blocks = 1) {
    Buffer buffer = Buffer::allocate(blocks * kBlockBytes);
    std::memset(buffer.data(), fill, buffer.capacity());
    const std::span<const std::byte> piece = buffer.bytes();
    queue_->write(*file_, FilePosition(block * kBlockBytes), {&piece, 1}, durability,
                  [this, fill](Result<> result) {
                    completed_.push_back(fill);
                    results_.push_back(std::move(result));
                  });
    buffers_.push_back(std::move(buffer));
  }
  // The first byte of every block, as a crash would leave it.
  std::string found(const CrashPolicy& policy = CrashPolicy::nothing()) {
    const std::vector<std::byte> bytes = disk_.crash_image(policy)->contents("f");
    std::string firsts;
    for (std::size_t at = 0; at < bytes.size(); at += kBlockBytes) {
      firsts += static_cast<char>(bytes[at]);
    }
    return firsts;
  }

  SimDisk disk_;
  SimExecutor executor_;
  std::unique_ptr<SimIoQueue> queue_ = std::make_unique<SimIoQueue>(disk_, executor_);
  std::unique_ptr<File> file_;
  std::vector<Buffer> buffers_;
  std::vector<char> completed_;
  std::vector<Result<>> results_;
};

TEST_F(SimIoQueueTest, ADurableWriteIsStableWhenItCompletes) {
  write(0, 'a');
  EXPECT_EQ(queue_->in_flight(), 1U);
  queue_->submit();
  executor_.run_until_idle();
  EXPECT_THAT(completed_, ElementsAre('a'));
  EXPECT_EQ(queue_->in_flight(), 0U);
  EXPECT_EQ(found(), "a.......");
  EXPECT_EQ(queue_->counters().writes, 1U);
  EXPECT_EQ(queue_->counters().write_bytes, kBlockBytes);
}

TEST_F(SimIoQueueTest, APlainWriteIsStableOnlyAfterASyncThatBeganLater) {
  write(0, 'a', Durability::kPlain);
  queue_->submit();
  bool synced = false;
  // Begun before the write completed: covers nothing of it.
  queue_->sync(*file_, [&](const Result<>& result) { synced = result.has_value(); });
  queue_->submit();
  executor_.run_until_idle();
  EXPECT_TRUE(synced);
  EXPECT_THAT(completed_, ElementsAre('a'));
  EXPECT_EQ(found(), "........");
  queue_->sync(*file_, [](const Result<>&) {});
  queue_->submit();
  executor_.run_until_idle();
  EXPECT_EQ(found(), "a.......");
}

TEST_F(SimIoQueueTest, NothingHappensBeforeSubmit) {
  write(0, 'a');
  executor_.run_until_idle();
  EXPECT_THAT(completed_, IsEmpty());
  EXPECT_EQ(disk_.points(), 0U);
}

TEST_F(SimIoQueueTest, WritesCompleteInTheOrderOfTheirLatencies) {
  queue_ = std::make_unique<SimIoQueue>(
      disk_, executor_, SimIoOptions{.latency = [](const SimIoOperation& operation) {
        return microseconds(operation.position.value() == 0 ? 200 : 100);
      }});
  write(0, '1');
  write(1, '2');
  queue_->submit();
  executor_.run_for(microseconds(150));
  EXPECT_THAT(completed_, ElementsAre('2'));
  EXPECT_EQ(found(), ".2......") << "the second write is durable and the first is not";
  executor_.run_until_idle();
  EXPECT_THAT(completed_, ElementsAre('2', '1'));
}

TEST_F(SimIoQueueTest, TheSeedDecidesTheOrder) {
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    queue_ = std::make_unique<SimIoQueue>(disk_, executor_, SimIoOptions{.seed = seed});
    completed_.clear();
    write(0, '1');
    write(1, '2');
    write(2, '3');
    queue_->submit();
    executor_.run_until_idle();
    orders.emplace(completed_.begin(), completed_.end());
  }
  EXPECT_EQ(orders.size(), 6U);
}

TEST_F(SimIoQueueTest, AWriteInFlightIsOnTheDiskInAnyPart) {
  write(0, 'a', Durability::kDurable, 2);
  queue_->submit();
  disk_.power_off();
  executor_.run_until_idle();
  EXPECT_THAT(completed_, IsEmpty());
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    seen.insert(found(CrashPolicy::random(seed)).substr(0, 2));
  }
  for (const std::string expected : {"..", "a.", ".a", "aa"}) EXPECT_TRUE(seen.contains(expected));
}

TEST_F(SimIoQueueTest, ThePowerGoesAtSubmitAndAtCompletionOfEachWrite) {
  for (const std::uint64_t n : {1U, 2U}) {
    SCOPED_TRACE(n);
    SimDisk disk;
    disk.put("f", as_bytes(std::string(kBlockBytes, '.')));
    disk.stop_at(n);
    auto file = disk.open("f", {.mode = OpenMode::kWrite, .direct = true});
    SimIoQueue queue(disk, executor_);
    Buffer buffer = Buffer::allocate(kBlockBytes);
    const std::span<const std::byte> piece = buffer.bytes();
    bool done = false;
    queue.write(**file, FilePosition(0), {&piece, 1}, Durability::kDurable,
                [&](const Result<>&) { done = true; });
    queue.submit();
    executor_.run_until_idle();
    EXPECT_FALSE(done);
    EXPECT_TRUE(disk.powered_off());
    EXPECT_EQ(disk.unsynced_changes(), 1U);
    EXPECT_NE(disk.stopped_by().find(n == 1 ? "submitted" : "completes"), std::string::npos);
  }
}

TEST_F(SimIoQueueTest, GathersPiecesAndReadsThemBack) {
  Buffer memory = Buffer::allocate(3 * kBlockBytes);
  std::memset(memory.data(), 'x', kBlockBytes);
  std::memset(memory.data() + 2 * kBlockBytes, 'y', kBlockBytes);
  const std::span<const std::byte> bytes = memory.bytes();
  const std::array<std::span<const std::byte>, 2> pieces{bytes.subspan(0, kBlockBytes),
                                                         bytes.subspan(2 * kBlockBytes)};
  queue_->write(*file_, FilePosition(4 * kBlockBytes), pieces, Durability::kDurable,
                [](const Result<>&) {});
  queue_->submit();
  executor_.run_until_idle();
  EXPECT_EQ(found(), "....xy..");
  Buffer into = Buffer::allocate(8 * kBlockBytes);
  std::size_t length = 0;
  queue_->read(*file_, FilePosition(5 * kBlockBytes), into.bytes(),
               [&](Result<std::size_t> result) { length = result.value(); });
  queue_->submit();
  executor_.run_until_idle();
  EXPECT_EQ(length, 3 * kBlockBytes) << "a read past the end is short";
  EXPECT_EQ(into.data()[0], std::byte{'y'});
}

TEST_F(SimIoQueueTest, AReadThatRacesAWriteSeesEachSectorOldOrNew) {
  queue_ = std::make_unique<SimIoQueue>(
      disk_, executor_,
      SimIoOptions{.seed = 1, .latency = [](const SimIoOperation& operation) {
                     return microseconds(operation.operation == DiskOperation::kWrite ? 200 : 100);
                   }});
  write(0, 'a');
  Buffer into = Buffer::allocate(kBlockBytes);
  bool read = false;
  queue_->read(*file_, FilePosition(0), into.bytes(),
               [&](const Result<std::size_t>&) { read = true; });
  queue_->submit();
  executor_.run_for(microseconds(150));
  ASSERT_TRUE(read);
  EXPECT_THAT(completed_, IsEmpty());
  std::set<std::string> sectors;
  for (std::size_t at = 0; at < kBlockBytes; at += kSectorBytes) {
    sectors.emplace(as_text(into.bytes().subspan(at, kSectorBytes)));
  }
  EXPECT_THAT(sectors, ElementsAre(std::string(kSectorBytes, '.'), std::string(kSectorBytes, 'a')));
}

TEST_F(SimIoQueueTest, AFailedWriteLeavesAnyPartAndIsNeverStable) {
  disk_.fail_nth(DiskOperation::kWrite, 1, DiskFault::kIoError);
  write(0, 'a');
  queue_->submit();
  executor_.run_until_idle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].error().code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(found(), "........");
  EXPECT_EQ(found(CrashPolicy::everything()), "a.......");
}

TEST_F(SimIoQueueTest, AWriteWhoseSyncFailedReadsBackUntilTheDirectoryIsLockedAnew) {
  std::set<char> device;
  for (char fill = 'a'; fill <= 'h'; ++fill) {
    disk_.fail_nth(DiskOperation::kWrite, 1, DiskFault::kFailedSync);
    write(0, fill);
    queue_->submit();
    executor_.run_until_idle();
    ASSERT_FALSE(results_.back());
    ASSERT_TRUE(file_->sync_data());
    const auto reads = [this] { return static_cast<char>(disk_.contents("f").front()); };
    EXPECT_EQ(reads(), fill);
    const auto lock = disk_.lock_directory("/");
    ASSERT_TRUE(lock);
    device.insert(reads());
    EXPECT_EQ(found().front(), reads()) << "what is read now is what a crash finds";
  }
  EXPECT_GT(device.size(), 1U);
  EXPECT_LT(device.size(), 8U) << "some were lost";
}

TEST_F(SimIoQueueTest, AFullDiskFailsTheWriteAndKeepsWhatWasThere) {
  disk_.limit_space(8 * kBlockBytes);
  write(7, 'a', Durability::kDurable, 2);
  queue_->submit();
  executor_.run_until_idle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_EQ(results_[0].error().code(), ErrorCode::kStorageFull);
  EXPECT_EQ(found(CrashPolicy::everything()), "........");
}

TEST_F(SimIoQueueTest, AShortWriteIsContinued) {
  disk_.fail_nth(DiskOperation::kWrite, 1, DiskFault::kShortWrite);
  write(0, 'a', Durability::kDurable, 4);
  queue_->submit();
  executor_.run_until_idle();
  ASSERT_EQ(results_.size(), 1U);
  EXPECT_TRUE(results_[0].has_value());
  EXPECT_EQ(found(), "aaaa....");
  EXPECT_EQ(disk_.points(), 4U) << "two writes in flight, one after the other";
}

TEST_F(SimIoQueueTest, ALostSyncIsReportedAndCoversNothing) {
  write(0, 'a', Durability::kPlain);
  queue_->submit();
  executor_.run_until_idle();
  disk_.fail_nth(DiskOperation::kSync, 1, DiskFault::kIoError);
  Result<> first;
  Result<> second;
  queue_->sync(*file_, [&](Result<> result) { first = std::move(result); });
  queue_->submit();
  executor_.run_until_idle();
  queue_->sync(*file_, [&](Result<> result) { second = std::move(result); });
  queue_->submit();
  executor_.run_until_idle();
  EXPECT_EQ(first.error().code(), ErrorCode::kStorageFailed);
  EXPECT_TRUE(second.has_value());
  EXPECT_EQ(found(), "........");
}

TEST_F(SimIoQueueTest, CallbacksOfAQueueThatIsGoneNeverRun) {
  write(0, 'a');
  queue_->submit();
  queue_.reset();
  executor_.run_until_idle();
  EXPECT_THAT(completed_, IsEmpty());
}

using SimIoQueueDeathTest = SimIoQueueTest;

TEST_F(SimIoQueueDeathTest, ChecksThatWritesInFlightDoNotOverlap) {
  write(0, 'a', Durability::kDurable, 2);
  write(1, 'b');
  EXPECT_DEATH(queue_->submit(), "overlaps a write in flight");
}

TEST_F(SimIoQueueDeathTest, ChecksThatNothingIsCutUnderAWrite) {
  write(1, 'a');
  queue_->submit();
  EXPECT_DEATH((void)file_->truncate(kBlockBytes), "overlaps a write in flight");
}

TEST_F(SimIoQueueDeathTest, ChecksAlignment) {
  Buffer buffer = Buffer::allocate(2 * kBlockBytes);
  const std::span<const std::byte> bytes = buffer.bytes();
  const auto try_write = [&](std::uint64_t position, std::span<const std::byte> piece) {
    queue_->write(*file_, FilePosition(position), {&piece, 1}, Durability::kPlain,
                  [](const Result<>&) {});
  };
  EXPECT_DEATH(try_write(512, bytes), "begins inside a block");
  EXPECT_DEATH(try_write(0, bytes.first(512)), "ends inside a block");
  EXPECT_DEATH(try_write(0, bytes.subspan(512, kBlockBytes)), "unaligned address");
}

TEST_F(SimIoQueueDeathTest, ChecksThatMemoryKeepsItsBytesWhileInFlight) {
  write(0, 'a');
  queue_->submit();
  buffers_[0].data()[17] = std::byte{'!'};
  EXPECT_DEATH(executor_.run_until_idle(), "changed while it was in flight");
}

}  // namespace
}  // namespace tidelog::sim
