// How a log's start moves up, by age, size and on request, and how files go.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "log/inspect.h"
#include "tests/log/log_fixture.h"
#include "tests/log/passing_disk.h"
#include "wire/batch_builder.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class RetentionTest : public LogFixture {
 protected:
  static HarnessOptions settings(PartitionLogSettings changed) {
    HarnessOptions options = one_shard();
    changed.segment_bytes = options.settings.segment_bytes;
    options.settings = changed;
    return options;
  }
  std::uint64_t disk_bytes() const {
    std::uint64_t bytes = 0;
    for (const std::string& path : disk_->files()) {
      if (path.ends_with(".log")) bytes += disk_->contents(path).size();
    }
    return bytes;
  }
  std::size_t segment_files() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        disk_->files(), [](const std::string& path) { return path.ends_with(".log"); }));
  }
  // Appends `count` records of about 2,000 bytes, each durable.
  void fill(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(harness_->append(kId, 2000));
      if (i % 5 == 4) harness_->pass(milliseconds(2));
    }
    ASSERT_TRUE(harness_->wait_durable(kId));
    harness_->pass(milliseconds(50));
  }
  // The ledger forgets what the log has forgotten.
  void allow_any_start() { ledger_.logs[kId].start_max = harness_->find(kId)->log_end(); }
  Error refused(Offset from) {
    const auto read = harness_->read_all(kId, from, harness_->find(kId)->log_end());
    return read ? Error(ErrorCode::kOk, "read") : read.error();
  }
};

TEST_F(RetentionTest, ALogFilledFarBeyondItsSizeKeepsDiskUseFlat) {
  start(settings({.retention_bytes = 100 << 10}));
  ASSERT_TRUE(harness_->create(kId));
  std::uint64_t most = 0;
  for (int round = 0; round < 30; ++round) {
    fill(40);  // 80 KB, more than a segment
    if (round > 3) most = std::max(most, disk_bytes());
  }
  // The bound, the active segment, and one that is on its way out.
  EXPECT_LE(most, (100U + 64U + 64U) << 10);
  PartitionLog* log = harness_->find(kId);
  EXPECT_EQ(log->log_end(), Offset(1200));
  EXPECT_GT(log->log_start(), Offset(1000));
  EXPECT_GE(log->size_bytes(), 100U << 10) << "the bound is kept, not undercut";
  EXPECT_EQ(refused(log->log_start() - 1).code(), ErrorCode::kOffsetOutOfRange);
  allow_any_start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  start(settings({.retention_bytes = 100 << 10}));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// Else small segments are made faster than they go.
TEST_F(RetentionTest, SmallSegmentsGoTogetherForFewSyncs) {
  class CountingDisk final : public PassingDisk {
   public:
    using PassingDisk::PassingDisk;
    Result<> sync_directory(const std::string& path) override {
      if (path == "data/" + kId.to_string()) ++syncs;
      return PassingDisk::sync_directory(path);
    }
    int syncs = 0;
  };
  CountingDisk counting(*disk_);
  HarnessOptions options = one_shard();
  options.files = &counting;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  fill(400);
  const std::size_t files = segment_files();
  ASSERT_GT(files, 10U);
  const Offset end = harness_->find(kId)->log_end();
  counting.syncs = 0;
  ASSERT_TRUE(harness_->trim(kId, end - 1));
  harness_->pass(milliseconds(100));
  EXPECT_LE(segment_files(), 2U);
  EXPECT_LE(counting.syncs, 3) << "for " << files << " files";
  harness_.reset();
}

TEST_F(RetentionTest, ATrimOfWhatIsBeingWrittenAsksToTryAgain) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->append(kId, 300));
  std::optional<Result<>> trimmed;
  const auto trim = [&] {
    trimmed.reset();
    harness_->find(kId)->trim(Offset(1), [&](const Result<>& result) { trimmed = result; });
    ASSERT_TRUE(harness_->executor().run_until([&] { return trimmed.has_value(); }));
  };
  trim();
  ASSERT_FALSE(*trimmed);
  EXPECT_EQ(trimmed->error().code(), ErrorCode::kOverloaded);
  ASSERT_TRUE(harness_->wait_durable(kId));
  trim();
  EXPECT_TRUE(*trimmed) << trimmed->error().to_string();
}

TEST_F(RetentionTest, SegmentsGoWhenTheirLastRecordIsTooOld) {
  start(settings({.retention_ms = 60'000}));
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  EXPECT_GE(segment_files(), 2U);
  harness_->pass(seconds(40));
  fill(5);
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(0));
  harness_->pass(seconds(35));
  const Offset start_now = harness_->find(kId)->log_start();
  EXPECT_GT(start_now, Offset(20));
  EXPECT_LE(start_now, Offset(100));
  EXPECT_LE(segment_files(), 2U);
  allow_any_start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, RecordsThatOnlyTheJournalHoldsGrowTooOldAsWell) {
  start(settings({.retention_ms = 60'000}));
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  EXPECT_EQ(segment_files(), 0U);
  harness_->pass(minutes(4));
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(3));
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(3));
  EXPECT_EQ(segment_files(), 1U) << "an empty one keeps the log's end";
  allow_any_start();
  append_durably(kId);
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::nothing());
  start(settings({.retention_ms = 60'000}));
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(4));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, ALogThatRestsBeginsANewSegmentOnlyOnce) {
  start(settings({.segment_ms = 60'000}));
  ASSERT_TRUE(harness_->create(kId));
  fill(3);
  harness_->pass(minutes(30));
  EXPECT_EQ(segment_files(), 2U);
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(0));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  HarnessOptions again = settings({.segment_ms = 60'000});
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  start(again);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, WithoutLimitsNothingGoes) {
  start(settings({}));
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  harness_->pass(std::chrono::hours(24 * 2));
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(0));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, ChangedSettingsCountAtOnce) {
  start(settings({}));
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  PartitionLogSettings changed;
  changed.segment_bytes = 64 << 10;
  changed.retention_bytes = 0;
  harness_->find(kId)->change_settings(changed);
  harness_->pass(milliseconds(100));
  EXPECT_GT(harness_->find(kId)->log_start(), Offset(20));
  EXPECT_EQ(segment_files(), 1U);
  allow_any_start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, WhatIsNotCommittedStays) {
  start(settings({.retention_bytes = 0}));
  ASSERT_TRUE(harness_->create(kId));
  harness_->find(kId)->on_durable([](Offset) {});  // nobody commits
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(harness_->append(kId, 2000));
    harness_->pass(milliseconds(1));
  }
  harness_->pass(seconds(30));
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(0));
}

TEST_F(RetentionTest, ATrimIsDurableWhenItIsAnswered) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  ASSERT_TRUE(harness_->trim(kId, Offset(50)));
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(50));
  EXPECT_EQ(refused(Offset(49)).code(), ErrorCode::kOffsetOutOfRange);
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(50));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  ASSERT_TRUE(harness_->trim(kId, Offset(20))) << "nothing to do";
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(50));
}

TEST_F(RetentionTest, ATrimToTheEndLeavesAnEmptyLogThatGoesOn) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  fill(3);
  ASSERT_TRUE(harness_->trim(kId, Offset(3)));
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(3));
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(3));
  harness_->listen(kId);
  append_durably(kId, 2);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, ATrimInsideABatchThatOnlyTheJournalHoldsLosesNothing) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  wire::BatchBuilder builder;
  BufferPool pool(0);
  for (int i = 0; i < 10; ++i) {
    wire::RecordView record;
    record.value = "v";
    builder.add(1000 + i, record);
  }
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(kId), {}, pool);
  ASSERT_TRUE(batch);
  ASSERT_TRUE(harness_->find(kId)->append(batch->bytes(), LeaderEpoch(1)));
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_TRUE(harness_->trim(kId, Offset(4)));
  const auto check = [this] {
    PartitionLog* log = harness_->find(kId);
    EXPECT_EQ(log->health(), LogHealth::kSound);
    EXPECT_EQ(log->log_start(), Offset(4));
    EXPECT_EQ(log->log_end(), Offset(10));
    EXPECT_TRUE(harness_->read_all(kId, Offset(4), Offset(10)));
  };
  const auto verify = [this] {
    const auto report = verify_path(*disk_, "data");
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->ok());
    EXPECT_EQ(report->partitions.at(0).end, Offset(10));
  };
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  verify();
  start();
  check();
  crash(sim::CrashPolicy::nothing());
  verify();
  start();
  check();
  crash(sim::CrashPolicy::nothing());
  start();
  check();
}

TEST_F(RetentionTest, AStopWaitsForATrimUnderWay) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  bool trimmed = false;
  ledger_.logs[kId].start = ledger_.logs[kId].start_max = Offset(70);
  harness_->find(kId)->trim(Offset(70), [&](Result<> result) { trimmed = result.has_value(); });
  ASSERT_TRUE(harness_->stop_cleanly());
  EXPECT_TRUE(trimmed);
  harness_.reset();
  start();
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(70));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, ATrimBehindTheEndIsRefused) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  std::optional<Result<>> answer;
  harness_->find(kId)->trim(Offset(4), [&](Result<> result) { answer = std::move(result); });
  harness_->idle();
  ASSERT_TRUE(answer.has_value() && !answer->has_value());
  EXPECT_EQ(answer->error().code(), ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(harness_->find(kId)->log_start(), Offset(0));
}

TEST_F(RetentionTest, RotInTheNewestCheckpointMakesNoRemovedSegmentLookLost) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  ASSERT_TRUE(harness_->trim(kId, Offset(90)));
  harness_->pass(milliseconds(50));
  ASSERT_LE(segment_files(), 2U);
  crash(sim::CrashPolicy::everything());
  for (const std::string slot : {"data/checkpoint.0", "data/checkpoint.1"}) {
    auto damaged = disk_->crash_image(sim::CrashPolicy::everything());
    damaged->flip_bit(slot, 333);
    Ledger ledger = ledger_;
    LogHarness harness(*damaged, ledger, one_shard());
    ASSERT_TRUE(harness.open());
    EXPECT_EQ(compare(harness, ledger), "") << slot;
  }
}

TEST_F(RetentionTest, WhatIsLeftOfRemovedFilesCountsForNothingAndGoes) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  const std::string first = "data/" + kId.to_string() + "/00000000000000000000.log";
  const auto whole = disk_->contents(first);
  ASSERT_TRUE(harness_->trim(kId, Offset(90)));
  harness_->pass(milliseconds(50));
  crash(sim::CrashPolicy::everything());
  ASSERT_FALSE(*disk_->exists(first));
  // As a crash leaves it that comes while the file is cut down.
  disk_->put(first, std::span(whole).first(12288));
  start();
  EXPECT_TRUE(harness_->store().recovery().problems.empty());
  EXPECT_EQ(compare(*harness_, ledger_), "");
  harness_->pass(milliseconds(50));
  EXPECT_FALSE(*disk_->exists(first));
}

TEST_F(RetentionTest, AReadUnderWayKeepsTheFileUntilItEnds) {
  HarnessOptions options = one_shard();
  options.latency = [](const sim::SimIoOperation& operation) {
    return operation.path.ends_with("00000.log") ? milliseconds(30) : std::chrono::microseconds(50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  const std::string first = "data/" + kId.to_string() + "/00000000000000000000.log";
  std::optional<Result<ReadResult>> read;
  harness_->find(kId)->read(Offset(0),
                            {.up_to = Offset(100), .bytes_max = 4000, .at_least_one = true},
                            [&](Result<ReadResult> result) { read = std::move(result); });
  harness_->pass(milliseconds(5));
  ASSERT_FALSE(read.has_value()) << "it is not under way";
  ASSERT_TRUE(harness_->trim(kId, Offset(90)));
  harness_->pass(milliseconds(5));
  ASSERT_FALSE(read.has_value());
  EXPECT_TRUE(*disk_->exists(first));
  harness_->pass(seconds(12));
  ASSERT_TRUE(read.has_value() && read->has_value());
  EXPECT_EQ((*read)->base_offset, Offset(0));
  EXPECT_FALSE(*disk_->exists(first));
}

TEST_F(RetentionTest, WhatAReadKeptOfAnEarlierLifeTakesNoFileOfTheNext) {
  HarnessOptions options = one_shard();
  options.latency = [](const sim::SimIoOperation& operation) {
    return operation.operation == sim::DiskOperation::kRead ? milliseconds(500)
                                                            : std::chrono::microseconds(50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  fill(100);
  bool answered = false;
  harness_->find(kId)->read(Offset(0),
                            {.up_to = Offset(100), .bytes_max = 4000, .at_least_one = true},
                            [&](const Result<ReadResult>&) { answered = true; });
  harness_->pass(milliseconds(5));
  ASSERT_TRUE(harness_->trim(kId, Offset(90)));
  ASSERT_TRUE(harness_->remove(kId));
  ASSERT_TRUE(harness_->create(kId));
  fill(30);
  ASSERT_TRUE(*disk_->exists(segment_of(kId)));
  ASSERT_FALSE(answered) << "the read keeps nothing any more";
  harness_->pass(seconds(12));
  EXPECT_TRUE(answered);
  EXPECT_TRUE(*disk_->exists(segment_of(kId)));
  crash();
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// The job that removes a file is under way: the next life begins behind it.
TEST_F(RetentionTest, ALogGoesWhenTheRemovalOfItsOldSegmentHasEnded) {
  start();
  for (int step = 0; step < 40; ++step) {
    if (harness_->find(kId) == nullptr) {
      ASSERT_TRUE(harness_->create(kId));
    }
    fill(60);
    const Offset end = harness_->find(kId)->log_end();
    ASSERT_TRUE(harness_->trim(kId, end - 5));
    for (int i = 0; i < step; ++i) harness_->executor().step();
    ASSERT_TRUE(harness_->remove(kId));
  }
  ASSERT_TRUE(harness_->create(kId));
  fill(30);
  harness_->pass(seconds(12));
  crash();
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(RetentionTest, ALogIsRemovedWhileItsOldSegmentsGo) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  fill(200);
  ASSERT_TRUE(harness_->trim(kId, Offset(190)));
  ASSERT_TRUE(harness_->remove(kId));
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId);
  harness_->pass(milliseconds(100));
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

}  // namespace
}  // namespace tidelog::log
