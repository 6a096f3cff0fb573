// A disk that fails, or is full, while the log runs.
#include <gtest/gtest.h>

#include "tests/log/log_fixture.h"
#include "tests/log/passing_disk.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

class DiskFailureTest : public LogFixture {};

TEST_F(DiskFailureTest, AFailedJournalWriteIsFinal) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId);
  std::size_t failures = 0;
  harness_->find(kId)->on_failure([&](const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorageFailed);
    ++failures;
  });
  disk_->fail_nth(sim::DiskOperation::kWrite, 1, sim::DiskFault::kIoError);
  ASSERT_TRUE(harness_->append(kId, 100));
  harness_->pass(milliseconds(500));
  EXPECT_EQ(failures, 1U);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kFailed);
  EXPECT_EQ(ledger_.logs[kId].acknowledged, Offset(1));
  EXPECT_EQ(harness_->find(kId)->append(make_batch(kId, 1, 10), LeaderEpoch(1)).error().code(),
            ErrorCode::kStorageFailed);
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// Where there is a page cache, it reads back as if all were well, and no later sync tells.
TEST_F(DiskFailureTest, WhatAFailedSyncLeftInMemoryIsNotBuiltUponByTheNextStart) {
  bool was_there = false;
  bool was_lost = false;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    disk_ = std::make_unique<sim::SimDisk>(seed);
    ledger_ = {};
    start();
    ASSERT_TRUE(harness_->create(kId));
    append_durably(kId);
    disk_->fail_nth(sim::DiskOperation::kWrite, 1, sim::DiskFault::kFailedSync);
    ASSERT_TRUE(harness_->append(kId, 100));
    harness_->pass(milliseconds(500));
    EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kFailed);
    harness_.reset();

    start();
    const bool there = harness_->find(kId)->log_end() == Offset(2);
    was_there = was_there || there;
    was_lost = was_lost || !there;
    append_durably(kId, 3, 100, LeaderEpoch(2));
    disk_->power_off();
    for (const sim::CrashPolicy& policy : disk_->crash_policies(8, seed)) {
      const auto found = disk_->crash_image(policy);
      Ledger ledger = ledger_;
      LogHarness again(*found, ledger, one_shard());
      const auto opened = again.open();
      ASSERT_TRUE(opened) << opened.error().to_string();
      EXPECT_EQ(compare(again, ledger), "") << policy.to_string();
      EXPECT_EQ(again.find(kId)->health(), LogHealth::kSound) << policy.to_string();
    }
    harness_.reset();
  }
  EXPECT_TRUE(was_there && was_lost) << "the seeds show both";
}

TEST_F(DiskFailureTest, AFailedSegmentSyncIsFinal) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_min = options.store.shard.journal_bytes_max;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 12, 1500);  // just destaging
  std::size_t failures = 0;
  harness_->find(kId)->on_failure([&](const Error&) { ++failures; });
  disk_->fail_nth(sim::DiskOperation::kSync, 1, sim::DiskFault::kIoError);
  for (int i = 0; i < 40 && harness_->append(kId, 1500); ++i) harness_->pass(milliseconds(5));
  EXPECT_EQ(failures, 1U);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kFailed);
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// Each attempt writes the whole new file before it finds no space.
TEST_F(DiskFailureTest, AJournalThatCannotGrowTriesAgainLater) {
  class FullDisk final : public PassingDisk {
   public:
    using PassingDisk::PassingDisk;
    Result<std::unique_ptr<io::File>> open(const std::string& path,
                                           const io::OpenOptions& options) override {
      if (!full || path != "data/journal/0-1") return PassingDisk::open(path, options);
      ++attempts;
      return fail(ErrorCode::kStorageFull, "open '" + path + "': no space");
    }
    bool full = true;
    std::uint64_t attempts = 0;
  };
  FullDisk full(*disk_);
  HarnessOptions options = one_shard();
  options.files = &full;
  options.latency = [](const sim::SimIoOperation& operation) {
    return operation.path.ends_with(".log") ? milliseconds(20) : std::chrono::microseconds(50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  const auto now = [this] { return harness_->executor().clock().now(); };
  const auto began = now();
  append_durably(kId, 1000);
  const auto tens = (now() - began) / std::chrono::seconds(10);
  EXPECT_GE(full.attempts, 1U) << "the ring was never half full";
  EXPECT_LE(full.attempts, 1U + static_cast<std::uint64_t>(tens));
  full.full = false;
  harness_->pass(std::chrono::seconds(11));
  append_durably(kId, 100);
  EXPECT_TRUE(*disk_->exists("data/journal/0-1"));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(DiskFailureTest, AFullDiskRefusesAppendsUntilThereIsSpaceAndLosesNothing) {
  HarnessOptions options = one_shard();
  options.store.shard.checkpoint_interval = std::chrono::seconds(1);
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  disk_->limit_space(96 << 10);  // the journal's 64 KiB and little more
  ErrorCode refused = ErrorCode::kOk;
  for (int i = 0; i < 200 && refused == ErrorCode::kOk; ++i) {
    const auto appended = harness_->append(kId, 2000);
    if (!appended) refused = appended.error().code();
    harness_->pass(milliseconds(5));
  }
  EXPECT_TRUE(refused == ErrorCode::kStorageFull) << static_cast<int>(refused);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_TRUE(harness_->read_all(kId, Offset(0), harness_->find(kId)->durable_end()));
  disk_->limit_space(std::uint64_t{1} << 40);
  harness_->pass(std::chrono::seconds(3));
  ASSERT_TRUE(harness_->append(kId, 100));
  ASSERT_TRUE(harness_->wait_durable(kId));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

}  // namespace
}  // namespace tidelog::log
