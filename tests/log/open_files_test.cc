// How many files logs keep open.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/log/log_harness.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

HarnessOptions few_files() {
  HarnessOptions options;
  options.shards = 1;
  options.store.shard.open_segments_max = 8;
  options.store.shard.tail_cache_bytes = 0;
  return options;
}

// The journal's files, reads ahead, and the catalog's file that is written just now.
constexpr std::size_t kOthers = 8;

TEST(OpenFilesTest, ManyLogsShareAFewHandles) {
  sim::SimDisk disk;
  Ledger ledger;
  LogHarness harness(disk, ledger, few_files());
  ASSERT_TRUE(harness.open());
  for (std::int32_t partition = 0; partition < 40; ++partition) {
    ASSERT_TRUE(harness.create(partition_of(2, partition)));
  }
  for (int round = 0; round < 3; ++round) {
    for (std::int32_t partition = 0; partition < 40; ++partition) {
      const TopicPartition id = partition_of(2, partition);
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(harness.append(id, 6000));
      ASSERT_TRUE(harness.wait_durable(id));
    }
    harness.pass(milliseconds(100));
    EXPECT_LE(disk.open_files(), 8 + kOthers);
  }
  EXPECT_EQ(compare(harness, ledger), "");
  EXPECT_LE(disk.open_files(), 8 + kOthers);
  ASSERT_TRUE(harness.stop_cleanly());
}

TEST(OpenFilesTest, ARemovedLogHoldsNoFileOpen) {
  sim::SimDisk disk;
  Ledger ledger;
  LogHarness harness(disk, ledger, few_files());
  ASSERT_TRUE(harness.open());
  const TopicPartition id = partition_of(2, 0);
  ASSERT_TRUE(harness.create(id));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(harness.append(id, 6000));
  ASSERT_TRUE(harness.wait_durable(id));
  harness.pass(milliseconds(100));
  EXPECT_GT(harness.shard_of(id).counters().open_segments, 0U);
  ASSERT_TRUE(harness.remove(id));
  EXPECT_EQ(harness.shard_of(id).counters().open_segments, 0U);
}

TEST(OpenFilesTest, SegmentsThatWereRolledGiveUpTheirFiles) {
  sim::SimDisk disk;
  Ledger ledger;
  LogHarness harness(disk, ledger, few_files());
  ASSERT_TRUE(harness.open());
  const TopicPartition id = partition_of(2, 0);
  ASSERT_TRUE(harness.create(id));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(harness.append(id, 6000));
    ASSERT_TRUE(harness.wait_durable(id));
  }
  harness.pass(milliseconds(100));
  EXPECT_LE(disk.open_files(), 8 + kOthers);
  EXPECT_EQ(compare(harness, ledger), "");
  EXPECT_LE(disk.open_files(), 8 + kOthers);
}

TEST(OpenFilesTest, AStartOpensFilesOneAfterAnother) {
  sim::SimDisk disk;
  Ledger ledger;
  const TopicPartition id = partition_of(2, 0);
  {
    LogHarness harness(disk, ledger, few_files());
    ASSERT_TRUE(harness.open());
    ASSERT_TRUE(harness.create(id));
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(harness.append(id, 6000));
      ASSERT_TRUE(harness.wait_durable(id));
    }
  }
  const auto image = disk.crash_image(sim::CrashPolicy::everything());
  LogHarness harness(*image, ledger, few_files());
  ASSERT_TRUE(harness.open());
  EXPECT_LE(image->most_open_files(), 2 + kOthers);
  EXPECT_EQ(compare(harness, ledger), "");
}

}  // namespace
}  // namespace tidelog::log
