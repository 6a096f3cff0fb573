// What a start asks of the disk: how much it reads, and how often it waits for a sync.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

class StartCostTest : public LogFixture {
 protected:
  std::uint64_t syncs() const {
    return disk_->operations(sim::DiskOperation::kSync) +
           disk_->operations(sim::DiskOperation::kSyncDirectory);
  }
  // With a journal that never grows nor fills.
  static HarnessOptions roomy(std::size_t shards) {
    HarnessOptions options;
    options.shards = shards;
    options.store.shard.journal_bytes_min = options.store.shard.journal_bytes_max = kMiB;
    return options;
  }
  // As many syncs as a start takes that finds `logs` logs with a record each, none in a segment.
  std::uint64_t syncs_of_start(std::int32_t logs, const HarnessOptions& next) {
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = Ledger();
    start(roomy(1));
    for (std::int32_t i = 0; i < logs; ++i) {
      EXPECT_TRUE(harness_->create(partition_of(5, i)));
      EXPECT_TRUE(harness_->append(partition_of(5, i), 100));
    }
    for (std::int32_t i = 0; i < logs; ++i) {
      EXPECT_TRUE(harness_->wait_durable(partition_of(5, i)));
    }
    crash(sim::CrashPolicy::nothing());
    const std::uint64_t before = syncs();
    start(next);
    const std::uint64_t taken = syncs() - before;
    EXPECT_EQ(compare(*harness_, ledger_), "");
    return taken;
  }
};

TEST_F(StartCostTest, AStartTellsWithEveryLogHowFarItIs) {
  constexpr std::int32_t kLogs = 30;
  for (const std::size_t shards : {1U, 2U}) {  // the journal goes on, or is emptied
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = Ledger();
    start(roomy(1));
    for (std::int32_t i = 0; i < kLogs; ++i) {
      ASSERT_TRUE(harness_->create(partition_of(5, i)));
      if (i % 3 == 0) continue;  // no journal has anything of it
      ASSERT_TRUE(harness_->append(partition_of(5, i), 100));
      ASSERT_TRUE(harness_->wait_durable(partition_of(5, i)));
    }
    crash(sim::CrashPolicy::everything());
    std::vector<RecoveryProgress> told;
    HarnessOptions next = roomy(shards);
    next.store.on_recovery_progress = [&](const RecoveryProgress& now) { told.push_back(now); };
    start(next);
    ASSERT_GE(told.size(), std::size_t{2} * kLogs);
    RecoveryProgress before;
    for (const RecoveryProgress& now : told) {
      EXPECT_EQ(now.logs, kLogs);
      EXPECT_EQ(now.journals, 1U);
      EXPECT_GE(now.journals_read, before.journals_read);
      EXPECT_GE(now.logs_examined, before.logs_examined);
      EXPECT_GE(now.logs_recovered, before.logs_recovered);
      EXPECT_LE(now.logs_recovered - before.logs_recovered, 1U);
      EXPECT_LE(now.logs_recovered, now.logs_examined);
      before = now;
    }
    EXPECT_EQ(before.journals_read, 1U);
    EXPECT_EQ(before.logs_recovered, kLogs);
  }
}

TEST_F(StartCostTest, AfterACleanStopNoSegmentDataIsReadHoweverLargeTheLog) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 400, 3000);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const auto segments = static_cast<std::size_t>(std::ranges::count_if(
      disk_->files(), [](const std::string& path) { return path.ends_with(".log"); }));
  ASSERT_GT(segments, 10U);
  const std::uint64_t before = disk_->bytes_read(".log");
  start();
  EXPECT_TRUE(harness_->store().recovery().clean);
  // Its first block says what the file is; that is looked at twice.
  EXPECT_LE(disk_->bytes_read(".log") - before, segments * 2 * io::kBlockBytes);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(StartCostTest, AfterACleanStopOfTheJournalOnlyWhatSegmentsDoNotHaveIsRead) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_min = options.store.shard.journal_bytes_max = 16 * kMiB;
  options.store.shard.destage_bytes = 256 << 10;
  options.settings.segment_bytes = 64 * kMiB;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 600, 20000);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const std::uint64_t before = disk_->bytes_read("journal/0-0");
  start(options);
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_LT(disk_->bytes_read("journal/0-0") - before, 4 * kMiB);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// A log that is written to has up to 64 MiB of space ahead, and there may be thousands.
TEST_F(StartCostTest, AfterAKillTheSpaceTakenAheadIsNotRead) {
  HarnessOptions options = one_shard();
  options.settings.segment_bytes = 64 * kMiB;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 220, 20000);
  harness_->pass(std::chrono::seconds(1));
  kill();
  const auto found = disk_->contents(segment_of(kId));
  const auto last = std::ranges::find_if(found.rbegin(), found.rend(),
                                         [](std::byte byte) { return byte != std::byte{0}; });
  const auto written = static_cast<std::uint64_t>(found.rend() - last);
  ASSERT_GT(found.size() - written, 2 * kMiB) << "there is no space ahead";
  const std::uint64_t before = disk_->bytes_read(".log");
  start(options);
  // A window of the log's own, that begins where the records end.
  EXPECT_LT(disk_->bytes_read(".log") - before, written + kMiB + 64 * io::kBlockBytes);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(StartCostTest, AfterAKillOfTheJournalOnlyWhatSegmentsDoNotHaveIsReadTwice) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_min = options.store.shard.journal_bytes_max = 16 * kMiB;
  options.settings.segment_bytes = 64 * kMiB;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  // Writes that fit into a window, but not twice.
  for (int i = 0; i < 10; ++i) {
    for (int batch = 0; batch < 7; ++batch) ASSERT_TRUE(harness_->append(kId, 100'000));
    ASSERT_TRUE(harness_->wait_durable(kId));
  }
  harness_->pass(std::chrono::seconds(1));
  kill();
  const std::uint64_t before = disk_->bytes_read("journal/0-0");
  start(options);
  // And a window once more, for what no segment has.
  EXPECT_LT(disk_->bytes_read("journal/0-0") - before, 17 * kMiB + 16 * io::kBlockBytes);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(StartCostTest, TheSyncsOfAStartThatEmptiesTheJournalAreSharedByAllLogs) {
  HarnessOptions options = roomy(2);  // so that the journal does not go on
  options.store.shard.replay_bytes_max = kMiB;
  const std::uint64_t few = syncs_of_start(3, options);
  EXPECT_EQ(syncs_of_start(60, options), few);
}

TEST_F(StartCostTest, LogsThatDoNotFitIntoMemoryTogetherTakeTurns) {
  HarnessOptions options = roomy(2);
  options.store.shard.replay_bytes_max = 1;  // one log at a time
  const std::uint64_t few = syncs_of_start(3, options);
  EXPECT_EQ(syncs_of_start(12, options), few + 9);
}

}  // namespace
}  // namespace tidelog::log
