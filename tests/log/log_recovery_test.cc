// Named cases of recovery: what a kill and a power cut leave, and other shards.
#include <gtest/gtest.h>

#include "log/data_directory.h"
#include "tests/log/log_fixture.h"
#include "tests/log/passing_disk.h"

namespace tidelog::log {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class LogRecoveryTest : public LogFixture {};

TEST_F(LogRecoveryTest, TheSecondWriteIsDurableAndTheFirstIsNot) {
  HarnessOptions options = one_shard();
  std::uint64_t journal_writes = 0;
  options.latency = [&](const sim::SimIoOperation& operation) {
    if (operation.operation != sim::DiskOperation::kWrite) return microseconds(50);
    return microseconds(++journal_writes == 1 ? 20000 : 100);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  ASSERT_TRUE(harness_->append(kId, 100));
  harness_->pass(milliseconds(1));
  ASSERT_TRUE(harness_->append(kId, 200));
  ASSERT_TRUE(harness_->append(kOther, 300));
  ASSERT_TRUE(harness_->wait_durable(kOther));
  EXPECT_EQ(ledger_.logs[kOther].acknowledged, Offset(1));
  EXPECT_EQ(ledger_.logs[kId].acknowledged, Offset(0));
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(1));
  // Its second batch is on the disk, but leaves a gap: it was never acknowledged.
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(0));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// A journal whose first needed write is not there cannot go on: as one of its writes the second
// would count as complete, and what it says of a log behind the gap as a promise.
TEST_F(LogRecoveryTest, AWriteBehindOneThatNeverWasIsNoPromiseToLaterStarts) {
  HarnessOptions options = one_shard();
  std::uint64_t journal_writes = 0;
  options.latency = [&](const sim::SimIoOperation& operation) {
    if (operation.operation != sim::DiskOperation::kWrite) return microseconds(50);
    return microseconds(++journal_writes == 1 ? 20000 : 100);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  ASSERT_TRUE(harness_->append(kId, 100));
  harness_->pass(milliseconds(1));
  ASSERT_TRUE(harness_->append(kId, 200));
  ASSERT_TRUE(harness_->append(kOther, 300));
  ASSERT_TRUE(harness_->wait_durable(kOther));
  crash(sim::CrashPolicy::nothing());
  for (const bool stops_cleanly : {true, false, false}) {
    start();
    EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
    EXPECT_EQ(harness_->find(kId)->log_end(), Offset(0));
    EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(1));
    if (stops_cleanly) ASSERT_TRUE(harness_->stop_cleanly());
    crash(sim::CrashPolicy::nothing());
  }
  start();
  ledger_.logs[kId].batches.clear();  // what was never acknowledged
  harness_->listen(kId);
  append_durably(kId, 2);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(LogRecoveryTest, TruncatesTornTailButKeepsFlushedBatches) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 5);
  ASSERT_TRUE(harness_->append(kId, 6000));
  harness_->pass(milliseconds(0));  // in flight
  crash(sim::CrashPolicy::random(7));
  start();
  EXPECT_GE(harness_->find(kId)->log_end(), Offset(5));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(LogRecoveryTest, WhatARestartFoundAfterAKillSurvivesAPowerCut) {
  HarnessOptions options = one_shard();
  options.latency = [](const sim::SimIoOperation& operation) {
    // Segment writes complete, their sync does not.
    return operation.operation == sim::DiskOperation::kSync ? microseconds(3600'000'000)
                                                            : microseconds(100);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  // Before a log is cut all of it goes to its segment; it is never cut, since the sync does not
  // end.
  harness_->find(kId)->truncate(Offset(1), [](const Result<>&) {});
  harness_->pass(milliseconds(20));
  const std::string segment = "data/" + kId.to_string() + "/00000000000000000000.log";
  const auto written = disk_->contents(segment);
  ASSERT_TRUE(has_write_magic(std::span(written).subspan(io::kBlockBytes)));
  kill();
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  EXPECT_EQ(ledger_.logs[kId].acknowledged, Offset(3));
}

TEST_F(LogRecoveryTest, AFileWhereTheJournalsBatchesGoIsSetAsideNotRemoved) {
  start();
  ASSERT_TRUE(harness_->create(kOther));
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kOther);  // holds the journal's tail
  append_durably(kId, 9, 3000);
  harness_->pass(milliseconds(20));
  crash(sim::CrashPolicy::everything());
  const std::string segment = "data/" + kId.to_string() + "/00000000000000000000.log";
  disk_->flip_bit(segment, 8 * 8);
  const auto before = disk_->contents(segment);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_TRUE(told("set aside"));
  EXPECT_EQ(disk_->contents(segment + ".aside-1"), before);
  EXPECT_TRUE(harness_->read_all(kId, Offset(1), Offset(9)));
}

TEST_F(LogRecoveryTest, ALargerJournalIsMadeWithoutLookingDamagedInBetween) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 40, 3000);  // the ring grows to more than one file
  harness_->pass(milliseconds(200));
  crash(sim::CrashPolicy::everything());
  HarnessOptions larger = one_shard();
  larger.store.shard.journal_bytes_min = 1 << 20;
  larger.store.shard.journal_bytes_max = 1 << 20;
  bool ended = false;
  for (std::uint64_t point = 1; !ended; ++point) {
    const auto first = disk_->crash_image(sim::CrashPolicy::everything());
    first->stop_at(point);
    Ledger ledger = ledger_;
    {
      LogHarness harness(*first, ledger, larger);
      static_cast<void>(harness.open());
    }
    ended = !first->powered_off();
    for (const sim::CrashPolicy& policy : first->crash_policies(2, point)) {
      const auto second = first->crash_image(policy);
      LogHarness harness(*second, ledger, larger);
      ASSERT_TRUE(harness.open());
      ASSERT_EQ(compare(harness, ledger), "") << first->stopped_by() << ", " << policy.to_string();
    }
  }
}

TEST_F(LogRecoveryTest, JournalsOfAllShardsAreReplayedWhateverTheirNumberIsNow) {
  for (const std::size_t shards : {4U, 1U, 3U, 2U}) {
    HarnessOptions options;
    options.shards = shards;
    start(options);
    EXPECT_EQ(compare(*harness_, ledger_), "") << shards;
    for (std::int32_t partition = 0; partition < 5; ++partition) {
      const TopicPartition id = partition_of(9, partition);
      if (!ledger_.logs.contains(id)) {
        ASSERT_TRUE(harness_->create(id));
      }
      harness_->listen(id);
      append_durably(id, 2);
    }
    crash(sim::CrashPolicy::nothing());
  }
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  EXPECT_EQ(ledger_.logs[partition_of(9, 4)].acknowledged, Offset(8));
  // Journals of shards that do not exist any more are gone.
  for (const std::string& path : disk_->files())
    EXPECT_FALSE(path.starts_with("data/journal/1")) << path;
}

// Journals come and go one after the other: no power cut between makes one look lost.
TEST_F(LogRecoveryTest, ACutWhileTheNumberOfShardsChangesLosesNoJournal) {
  HarnessOptions before;
  HarnessOptions after;
  for (const auto& [from, to] : {std::pair{1U, 4U}, std::pair{4U, 1U}, std::pair{2U, 3U}}) {
    SCOPED_TRACE(fmt::format("{} to {}", from, to));
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    before.shards = from;
    after.shards = to;
    start(before);
    for (std::uint8_t topic = 1; topic < 5; ++topic) {
      ASSERT_TRUE(harness_->create(partition_of(topic, 0)));
      append_durably(partition_of(topic, 0));
    }
    crash(sim::CrashPolicy::everything());
    bool ended = false;
    for (std::uint64_t point = 1; !ended; ++point) {
      const auto first = disk_->crash_image(sim::CrashPolicy::everything());
      first->stop_at(point);
      Ledger ledger = ledger_;
      {
        LogHarness harness(*first, ledger, after);
        static_cast<void>(harness.open());
      }
      ended = !first->powered_off();
      for (const sim::CrashPolicy& policy : first->crash_policies(2, point)) {
        for (const HarnessOptions& options : {before, after}) {
          const auto second = first->crash_image(policy);
          LogHarness harness(*second, ledger, options);
          ASSERT_TRUE(harness.open());
          ASSERT_EQ(compare(harness, ledger), "")
              << first->stopped_by() << ", " << policy.to_string();
          ASSERT_TRUE(harness.store().recovery().problems.empty() ||
                      !harness.store().recovery().problems[0].contains("missing"));
        }
      }
    }
  }
}

TEST_F(LogRecoveryTest, ANewDirectoryIsThereAfterAPowerCutWhateverIsNewAboveIt) {
  for (const std::string path : {"x/y/data", "/x/y/data/", "data//"}) {
    SCOPED_TRACE(path);
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    // As the probe of the storage does.
    ASSERT_TRUE(disk_->make_directories(path));
    HarnessOptions options = one_shard();
    options.store.path = path;
    start(options);
    ASSERT_TRUE(harness_->create(kId));
    append_durably(kId, 3);
    crash(sim::CrashPolicy::nothing());
    start(options);
    ASSERT_NE(harness_->find(kId), nullptr);
    EXPECT_EQ(compare(*harness_, ledger_), "");
  }
}

// What lies above the directory may be somebody else's, or on a file system that syncs nothing.
TEST_F(LogRecoveryTest, AnAncestorThatCannotBeSyncedIsPassedOver) {
  class LockedDisk final : public PassingDisk {
   public:
    using PassingDisk::PassingDisk;
    Result<> sync_directory(const std::string& path) override {
      if (path != "x" && path != ".") return PassingDisk::sync_directory(path);
      ++passed;
      return fail(ErrorCode::kUnsupportedFeature, path + " may not be opened");
    }
    int passed = 0;
  };
  LockedDisk locked(*disk_);
  for (int life = 0; life < 2; ++life) {
    LogStoreOptions options = HarnessOptions::small_store();
    options.path = "x/data";
    const auto directory = DataDirectory::take(locked, options);
    ASSERT_TRUE(directory) << directory.error().to_string();
  }
  EXPECT_EQ(locked.passed, 2) << "of a new directory only";
}

TEST_F(LogRecoveryTest, TwoStoresNeverShareADirectory) {
  start();
  Ledger other;
  LogHarness second(*disk_, other, one_shard());
  const auto opened = second.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::kDirectoryInUse);
}

TEST_F(LogRecoveryTest, AnotherBrokersDirectoryIsRefused) {
  start();
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  HarnessOptions options = one_shard();
  options.store.broker_id = 8;
  LogHarness second(*disk_, ledger_, options);
  const auto opened = second.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tidelog::log
