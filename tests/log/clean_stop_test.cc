// What a clean stop leaves, and how the next start goes on with it.
#include <gtest/gtest.h>

#include <algorithm>

#include "log/inspect.h"
#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

class CleanStopTest : public LogFixture {
 protected:
  // Stops cleanly and starts again; what `options` say may differ.
  void restart(HarnessOptions options = one_shard()) {
    ASSERT_TRUE(harness_->stop_cleanly());
    harness_.reset();
    start(std::move(options));
  }
  void listen_to_all() {
    for (const auto& [id, log] : Ledger(ledger_).logs) harness_->listen(id);
  }
  std::size_t segment_files() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        disk_->files(), [](const std::string& path) { return path.ends_with(".log"); }));
  }
  // What stands behind a magic in the journal's first header: the journal's id.
  std::uint64_t journal_id() const {
    const auto header = decode_journal_header(disk_->contents("data/journal/0-0"));
    return header ? header->journal_id : 0;
  }
  // `count` logs with one fresh record each.
  void make_logs(std::int32_t count) {
    for (std::int32_t i = 0; i < count; ++i) {
      ASSERT_TRUE(harness_->create(partition_of(5, i)));
      ASSERT_TRUE(harness_->append(partition_of(5, i), 100));
    }
    for (std::int32_t i = 0; i < count; ++i) {
      ASSERT_TRUE(harness_->wait_durable(partition_of(5, i)));
    }
  }
};

TEST_F(CleanStopTest, LeavesSmallTailsInTheJournalAndGoesOnWithThem) {
  start();
  make_logs(40);
  const std::uint64_t id = journal_id();
  restart();
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(segment_files(), 0U);
  EXPECT_EQ(journal_id(), id) << "the journal goes on";
  EXPECT_EQ(compare(*harness_, ledger_), "");
  EXPECT_EQ(harness_->find(partition_of(5, 7))->durable_end(), Offset(1));
  listen_to_all();
  for (std::int32_t i = 0; i < 40; ++i) append_durably(partition_of(5, i));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_FALSE(harness_->store().recovery().clean);
  EXPECT_EQ(harness_->find(partition_of(5, 7))->log_end(), Offset(2));
  EXPECT_EQ(compare(*harness_, ledger_), "") << "both lives of one journal";
}

TEST_F(CleanStopTest, TakesAsManyStepsWhateverTheNumberOfLogs) {
  const auto points = [this](std::int32_t logs) {
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = Ledger();
    start();
    make_logs(logs);
    const std::uint64_t before = disk_->points();
    restart();
    return disk_->points() - before;
  };
  const std::uint64_t few = points(3);
  EXPECT_EQ(points(60), few);
}

TEST_F(CleanStopTest, BringsLogsAboveTheBoundToTheirSegments) {
  HarnessOptions options = one_shard();
  options.store.shard.destage_bytes = 4 << 10;
  start(options);
  make_logs(3);
  ASSERT_TRUE(harness_->create(kId));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_->append(kId, 900));  // in one open chunk
  restart(options);
  EXPECT_EQ(segment_files(), 1U);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// A ring that is half full asks half of the logs to make room, one file each.
TEST_F(CleanStopTest, WaitsForNoLogThatOnlyMakesRoom) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
  options.latency = [](const sim::SimIoOperation& operation) {
    return operation.path.ends_with(".log") ? milliseconds(1000) : std::chrono::microseconds(50);
  };
  start(options);
  for (std::int32_t i = 0; i < 110; ++i) ASSERT_TRUE(harness_->create(partition_of(5, i)));
  for (std::int32_t i = 0; i < 110; ++i) ASSERT_TRUE(harness_->append(partition_of(5, i), 150));
  for (std::int32_t i = 0; i < 110; ++i) {
    ASSERT_TRUE(harness_->wait_durable(partition_of(5, i)));
  }
  restart(options);
  EXPECT_GT(segment_files(), 0U) << "the ring was not half full";
  EXPECT_LE(segment_files(), 20U);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(CleanStopTest, WhatTheJournalHoldsReachesItsSegmentsWhenTheRingComesRound) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
  start(options);
  make_logs(3);
  restart(options);
  listen_to_all();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 100, 3000);  // some times round
  harness_->idle();
  EXPECT_GE(segment_files(), 4U);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  start(options);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(CleanStopTest, ManyStopsInARowLoseNothing) {
  start();
  make_logs(5);
  for (int life = 0; life < 6; ++life) {
    restart();
    ASSERT_TRUE(harness_->store().recovery().clean);
    ASSERT_EQ(compare(*harness_, ledger_), "") << life;
    listen_to_all();
    if (life % 2 == 0) append_durably(partition_of(5, life % 5), 3, 700);
  }
}

TEST_F(CleanStopTest, EpochsOfTheTailAreKnownAfterIt) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->append(kId, 100, LeaderEpoch(3)));
  ASSERT_TRUE(harness_->append(kId, 100, LeaderEpoch(5)));
  restart();
  EXPECT_EQ(harness_->find(kId)->last_epoch(), LeaderEpoch(5));
  EXPECT_EQ(harness_->find(kId)->epoch_end(LeaderEpoch(4)).epoch, LeaderEpoch(3));
  EXPECT_EQ(harness_->find(kId)->epoch_end(LeaderEpoch(4)).end, Offset(1));
}

TEST_F(CleanStopTest, WithAnotherNumberOfShardsTheJournalsAreEmptied) {
  HarnessOptions two;
  start(two);
  make_logs(8);
  restart();
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(segment_files(), 8U);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  EXPECT_FALSE(*disk_->exists("data/journal/1-0"));
  restart(two);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(CleanStopTest, ATruncationInTheJournalStaysOneOverIt) {
  append_truncate_append();
  start();
  harness_->listen(kId);
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(harness_->append(kId, 3000, LeaderEpoch(3)));
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_TRUE(harness_->truncate(kId, Offset(6)));
  restart();
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(6));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const auto report = verify_path(*disk_, "data");
  ASSERT_TRUE(report);
  for (const PartitionReport& partition : report->partitions) {
    EXPECT_TRUE(partition.problems.empty()) << partition.problems.front();
  }
}

TEST_F(CleanStopTest, RotInTheJournalIsLossOfWhatItHeldAndOfNothingElse) {
  start();
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kOther);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const std::uint64_t at = journal_write_at("data/journal/0-0", 1);  // kId's
  disk_->flip_bit("data/journal/0-0", (at + kWriteHeaderBytes + kJournalEntryBytes + 120) * 8);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kOther)->health(), LogHealth::kSound);
  EXPECT_EQ(harness_->read_all(kOther, Offset(0), Offset(1)),
            ledger_.logs[kOther].batches[Offset(0)].bytes);
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(1));
}

TEST_F(CleanStopTest, ADamagedCleanStopMarkerOnlyCostsAScan) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  disk_->flip_bit("data/clean-stop", 500);
  start();
  EXPECT_FALSE(harness_->store().recovery().clean);
  EXPECT_TRUE(told("clean-stop"));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(CleanStopTest, TheMarkerIsGoneBeforeTheFirstAppend) {
  start();
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  start();
  EXPECT_TRUE(harness_->store().recovery().clean);
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_FALSE(harness_->store().recovery().clean);
}

}  // namespace
}  // namespace tidelog::log
