// A clean stop on a disk that stays full ends soon: what is in the journal is there for the next
// start, and the clean-stop marker is there when it is true.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kAmple = std::uint64_t{1} << 40;

class FullDiskStopTest : public LogFixture {
 protected:
  static HarnessOptions options() {
    HarnessOptions options = one_shard();
    options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
    options.store.shard.checkpoint_interval = std::chrono::seconds(5);
    return options;
  }
  void start_with(int logs) {
    start(options());
    for (std::int32_t i = 0; i < logs; ++i) {
      ASSERT_TRUE(harness_->create(partition_of(2, i)));
      append_durably(partition_of(2, i));
    }
  }
  // No segment gets space from now on; what is overwritten has its own.
  void fail_segments() {
    for (std::uint64_t n = 1; n <= 2000; ++n) {
      disk_->fail_nth(sim::DiskOperation::kAllocate, n, sim::DiskFault::kNoSpace);
    }
  }
  // Every write from now on finds no space.
  void fail_writes() {
    for (std::uint64_t n = 1; n <= 2000; ++n) {
      disk_->fail_nth(sim::DiskOperation::kWrite, n, sim::DiskFault::kNoSpace);
    }
  }
  // Stops within two seconds of the disk's time, and starts again.
  void stop_in_time() {
    bool closed = false;
    harness_->store().shard(0).close([&](const Result<>& result) { closed = result.has_value(); });
    ASSERT_TRUE(harness_->executor().run_until([&] { return closed; }, std::chrono::seconds(2)));
    ASSERT_TRUE(harness_->store().finish_clean_stop());
    harness_->executor().clear_end_of_turn_hooks();
    harness_.reset();
  }
  // What can be withdrawn of the log is, and nobody is to find it again. How many batches.
  std::size_t withdraw(const TopicPartition& id) {
    PartitionLog* log = harness_->find(id);
    const Offset end = log->withdraw(log->durable_end());
    EXPECT_EQ(end, log->log_end());
    EXPECT_GE(end, log->durable_end());
    auto& batches = ledger_.logs[id].batches;
    const std::size_t before = batches.size();
    batches.erase(batches.lower_bound(end), batches.end());
    EXPECT_EQ(ledger_.logs[id].end(), end);
    return before - batches.size();
  }
  // All of it is there in the next life, and in the one after a power cut in that.
  void expect_all_there() {
    start(options());
    EXPECT_EQ(compare(*harness_, ledger_), "");
    crash(sim::CrashPolicy::nothing());
    start(options());
    EXPECT_EQ(compare(*harness_, ledger_), "");
  }
};

TEST_F(FullDiskStopTest, LeavesInTheJournalWhatFindsNoSpaceInSegments) {
  start_with(1);
  fail_segments();
  // More than may stay in the journal otherwise.
  while (harness_->append(kId, 3000) && harness_->wait_durable(kId)) {
  }
  harness_->pass(milliseconds(300));
  ASSERT_EQ(harness_->append(kId, 100).error().code(), ErrorCode::kStorageFull);
  ASSERT_GT(harness_->find(kId)->durable_end(), Offset(6));
  stop_in_time();
  start(options());  // the disk is as full as before
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  stop_in_time();
  crash(sim::CrashPolicy::nothing());  // the marker is stable; and the disk has space again
  start(options());
  EXPECT_TRUE(harness_->store().recovery().clean);
  harness_->listen(kId);
  append_durably(kId, 40, 3000);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  stop_in_time();
  expect_all_there();
}

TEST_F(FullDiskStopTest, GivesUpWhatAFullJournalDidNotTake) {
  start_with(1);
  fail_segments();
  // In one turn: more than the whole ring.
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(harness_->append(kId, 3000));
  harness_->pass(milliseconds(500));
  ASSERT_LT(harness_->find(kId)->durable_end(), harness_->find(kId)->log_end());
  stop_in_time();
  start(options());
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(harness_->find(kId)->log_end(), ledger_.logs[kId].acknowledged);
  crash(sim::CrashPolicy::nothing());
  expect_all_there();
}

TEST_F(FullDiskStopTest, WithdrawsWhatAFullJournalDidNotTake) {
  start_with(1);
  fail_segments();
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(harness_->append(kId, 3000));
  EXPECT_EQ(withdraw(kId), 0U) << "nobody knows yet that there is no space";
  harness_->pass(milliseconds(500));
  const Offset end = harness_->find(kId)->log_end();
  const auto records = static_cast<std::size_t>(end - harness_->find(kId)->durable_end());
  ASSERT_GT(records, 0U);
  EXPECT_EQ(withdraw(kId), records);
  EXPECT_EQ(harness_->find(kId)->log_end(), harness_->find(kId)->durable_end());
  EXPECT_EQ(harness_->shard_of(kId).counters().undurable_bytes, 0U);
  EXPECT_EQ(withdraw(kId), 0U);
  EXPECT_EQ(harness_->append(kId, 100).error().code(), ErrorCode::kStorageFull);
  EXPECT_EQ(compare(*harness_, ledger_), "") << "what is left is read";
  stop_in_time();
  start(options());
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  expect_all_there();
}

TEST_F(FullDiskStopTest, StoresTheCheckpointThatFoundNoSpaceBefore) {
  start_with(1);
  append_durably(kId, 3);
  disk_->fail_nth(sim::DiskOperation::kWrite, 1, sim::DiskFault::kNoSpace);
  std::optional<Result<>> trimmed;
  ledger_.logs[kId].start_max = Offset(2);
  harness_->find(kId)->trim(Offset(2), [&](Result<> result) { trimmed = std::move(result); });
  ASSERT_TRUE(harness_->executor().run_until([&] { return disk_->faults_left() == 0; }));
  harness_->pass(milliseconds(10));
  ASSERT_FALSE(trimmed);
  stop_in_time();
  ASSERT_TRUE(trimmed);
  EXPECT_TRUE(*trimmed);
  start(options());
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(2));
}

TEST_F(FullDiskStopTest, WithoutSpaceForTheCheckpointTheLastOneCounts) {
  start_with(2);
  append_durably(kId, 3);
  std::optional<Result<>> trimmed;
  ledger_.logs[kId].start_max = Offset(2);
  fail_writes();
  harness_->find(kId)->trim(Offset(2), [&](Result<> result) { trimmed = std::move(result); });
  harness_->pass(milliseconds(10));
  stop_in_time();
  ASSERT_TRUE(trimmed);
  EXPECT_EQ(trimmed->error().code(), ErrorCode::kStorageFull);
  crash();  // ends the faults
  start(options());
  EXPECT_FALSE(harness_->store().recovery().clean);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(FullDiskStopTest, AJournalWriteWithoutSpaceIsNoReasonToStay) {
  start_with(2);
  fail_writes();
  ASSERT_TRUE(harness_->append(kId, 300));
  harness_->pass(milliseconds(250));
  ASSERT_LT(harness_->find(kId)->durable_end(), harness_->find(kId)->log_end());
  stop_in_time();
  crash();
  start(options());
  EXPECT_FALSE(harness_->store().recovery().clean);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(FullDiskStopTest, ARemovalWithoutSpaceIsAnsweredAndMayBeAskedForAgain) {
  start_with(2);
  fail_writes();
  std::optional<Result<>> removed;
  ledger_.logs[kId].removed = true;
  harness_->shard_of(kId).remove(kId, [&](Result<> result) { removed = std::move(result); });
  harness_->pass(milliseconds(250));
  ASSERT_FALSE(removed);
  stop_in_time();
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->error().code(), ErrorCode::kStorageFull);
  crash();
  start(options());
  EXPECT_FALSE(harness_->store().recovery().clean);
  ASSERT_NE(harness_->find(kId), nullptr);
  EXPECT_TRUE(harness_->remove(kId));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(FullDiskStopTest, WithoutSpaceForTheMarkerTheNextStartDoesWithout) {
  start_with(2);
  bool closed = false;
  harness_->store().shard(0).close([&](const Result<>& result) { closed = result.has_value(); });
  ASSERT_TRUE(harness_->executor().run_until([&] { return closed; }));
  disk_->limit_space(0);
  ASSERT_TRUE(harness_->store().finish_clean_stop());
  harness_->executor().clear_end_of_turn_hooks();
  harness_.reset();
  EXPECT_FALSE(*disk_->exists("data/clean-stop"));
  disk_->limit_space(kAmple);
  start(options());
  EXPECT_TRUE(harness_->store().recovery().problems.empty());
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// From some write on there is no space for anything, wherever the destager, a cut or a removal is.
TEST_F(FullDiskStopTest, EndsFromEveryPointOnAndLosesNothing) {
  std::uint64_t unclean = 0;
  std::size_t withdrawn = 0;
  for (std::uint64_t from = 1; from <= 120; ++from) {
    SCOPED_TRACE(from);
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = Ledger();
    start_with(2);
    ASSERT_TRUE(harness_->create(kOther));
    for (std::uint64_t n = from; n < from + 2000; ++n) {
      disk_->fail_nth(sim::DiskOperation::kWrite, n, sim::DiskFault::kNoSpace);
      disk_->fail_nth(sim::DiskOperation::kAllocate, n / 4 + 1, sim::DiskFault::kNoSpace);
    }
    for (int i = 0; i < 30; ++i) {
      static_cast<void>(harness_->append(kId, 2500));
      static_cast<void>(harness_->append(kOther, 900));
      harness_->pass(milliseconds(3));
    }
    ledger_.logs[kId].truncating = Offset(4);
    harness_->find(kId)->truncate(Offset(4), [](const Result<>&) {});
    ledger_.logs[partition_of(2, 1)].removed = true;
    harness_->shard_of(kId).remove(partition_of(2, 1), [](const Result<>&) {});
    harness_->pass(milliseconds(from % 50));
    withdrawn += withdraw(kOther) + withdraw(kId);
    stop_in_time();
    if (HasFatalFailure()) return;
    unclean += *disk_->exists("data/clean-stop") ? 0 : 1;
    crash(from % 2 == 0 ? sim::CrashPolicy::everything() : sim::CrashPolicy::nothing());
    start(options());
    ASSERT_EQ(compare(*harness_, ledger_), "");
  }
  EXPECT_GT(unclean, 20U);
  EXPECT_GT(withdrawn, 20U);
}

}  // namespace
}  // namespace tidelog::log
