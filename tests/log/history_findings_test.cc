// What random histories found, each as a test of its own.
#include <gtest/gtest.h>

#include "tests/log/log_fixture.h"
#include "tests/log/produced_batches.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

class HistoryFindingsTest : public LogFixture {
 protected:
  static HarnessOptions destaging_at_once() {
    HarnessOptions options = one_shard();
    options.store.shard.destage_bytes = 1;
    return options;
  }
  // `count` batches of three records each.
  bool append_threes(int count) {
    for (int i = 0; i < count; ++i) {
      if (!harness_->append_batch(kId, produced_batch(kId, {}, 3))) return false;
    }
    return harness_->wait_durable(kId);
  }
};

// The cut takes the only segment; what stays is in the journal and begins below the log's start.
TEST_F(HistoryFindingsTest, ACutAboveAStartInsideABatchSurvivesAPowerCutAtEachStep) {
  int cut_short = 0;
  for (std::uint64_t step = 1;; ++step) {
    SCOPED_TRACE(step);
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    start(destaging_at_once());
    ASSERT_TRUE(harness_->create(kId));
    ASSERT_TRUE(append_threes(7));
    ASSERT_TRUE(harness_->stop_cleanly());  // brings them to the segment, in one write
    start(destaging_at_once());
    ASSERT_TRUE(harness_->trim(kId, Offset(7)));
    disk_->stop_at(disk_->points() + step);
    const bool ended = harness_->truncate(kId, Offset(9));
    cut_short += ended ? 0 : 1;
    crash(sim::CrashPolicy::everything());
    start(destaging_at_once());
    PartitionLog* log = harness_->find(kId);
    ASSERT_EQ(log->health(), LogHealth::kSound);
    EXPECT_EQ(log->log_start(), Offset(7));
    EXPECT_TRUE(log->log_end() == Offset(9) || (!ended && log->log_end() == Offset(21)))
        << log->log_end().value();
    EXPECT_TRUE(harness_->read_all(kId, Offset(7), log->log_end()));
    if (ended) break;
  }
  EXPECT_GT(cut_short, 3);
}

// While a log is on its way out the other one's traffic moves the journal's tail and writes
// checkpoints; neither may forget what the catalog still brings back.
TEST_F(HistoryFindingsTest, ARemovalThatAPowerCutUndoesLeavesTheLogAsItWas) {
  int undone = 0;
  for (std::uint64_t step = 1;; ++step) {
    SCOPED_TRACE(step);
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    HarnessOptions options = one_shard();
    options.latency = [](const sim::SimIoOperation&) { return milliseconds(5); };
    start(options);
    ASSERT_TRUE(harness_->create(kId));
    ASSERT_TRUE(harness_->create(kOther));
    ASSERT_TRUE(append_threes(5));
    ASSERT_TRUE(harness_->trim(kId, Offset(4)));
    ASSERT_TRUE(harness_->append_batch(kOther, produced_batch(kOther, {}, 3)));
    ASSERT_TRUE(harness_->wait_durable(kOther));
    disk_->stop_at(disk_->points() + step);
    // Two checkpoints and a journal write are asked for before the log is at rest.
    ASSERT_TRUE(harness_->append_batch(kId, produced_batch(kId, {}, 3)));
    harness_->find(kOther)->trim(Offset(2), [](const Result<>&) {});
    const bool ended = harness_->remove(kId);
    ledger_.logs[kOther].start_max = Offset(2);
    crash(sim::CrashPolicy::nothing());
    start(options);
    if (PartitionLog* log = harness_->find(kId); log != nullptr) {
      ASSERT_FALSE(ended);
      ++undone;
      ASSERT_EQ(log->health(), LogHealth::kSound);
      EXPECT_EQ(log->log_start(), Offset(4));
      EXPECT_GE(log->log_end(), Offset(15));
      EXPECT_TRUE(harness_->read_all(kId, Offset(4), Offset(15)));
    }
    if (ended) break;
  }
  EXPECT_GT(undone, 3);
}

// Two writes were in flight, and only the second one survived. What it holds leaves a gap, was
// never acknowledged, and must not count for anything when the log has grown to there.
TEST_F(HistoryFindingsTest, AJournalWithoutItsOldestWriteIsNotGoneOnWith) {
  HarnessOptions options = one_shard();
  options.latency = [](const sim::SimIoOperation&) { return milliseconds(5); };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(harness_->append_batch(kId, produced_batch(kId, {}, 3)));
    harness_->pass(milliseconds(1));
  }
  ASSERT_EQ(harness_->find(kId)->durable_end(), Offset(0));
  const std::size_t changes = disk_->unsynced_changes();
  ASSERT_GE(changes, 2U);
  disk_->power_off();
  for (std::size_t change = 0; change < changes; ++change) {
    SCOPED_TRACE(change);
    auto image = disk_->crash_image(sim::CrashPolicy::only(change));
    Ledger ledger;
    for (int life = 0; life < 3; ++life) {
      auto harness = std::make_unique<LogHarness>(*image, ledger, one_shard());
      ASSERT_TRUE(harness->open());
      ASSERT_EQ(harness->find(kId)->health(), LogHealth::kSound) << "life " << life;
      harness->listen(kId);
      ASSERT_TRUE(harness->append_batch(kId, produced_batch(kId, {}, 1), LeaderEpoch(life + 2)));
      ASSERT_TRUE(harness->wait_durable(kId));
      image->power_off();
      auto next = image->crash_image(sim::CrashPolicy::nothing());
      harness.reset();
      image = std::move(next);
    }
  }
}

// After a cut the ring is full of another log's bytes, so that the first append behind the cut
// could become durable in its segment alone. The journal still says that the log was cut, and last.
TEST_F(HistoryFindingsTest, WhatIsAppendedBehindACutWhileTheRingIsFullSurvives) {
  bool slow = false;
  const HarnessOptions options = ring_that_fills(slow);
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kId, 9);
  ASSERT_TRUE(harness_->truncate(kId, Offset(3)));
  slow = true;
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(harness_->append(kOther, 3000));
  ASSERT_TRUE(harness_->append(kId, 100, LeaderEpoch(2)));
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_EQ(ledger_.logs[kId].acknowledged, Offset(4));
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(4));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(HistoryFindingsTest, ASecondCutEndsThoughTheRingIsFullOfWhatItCuts) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
  options.store.shard.destage_bytes = 1 << 20;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 9);
  for (const std::int64_t turns : {0, 1, 2, 3}) {
    ASSERT_TRUE(harness_->truncate(kId, Offset(3)));
    for (int i = 0; i < 40; ++i) {
      ASSERT_TRUE(harness_->append(kId, 3000, LeaderEpoch(2)));
      harness_->executor().run_for(std::chrono::microseconds(turns * 20));
    }
    ASSERT_TRUE(harness_->truncate(kId, Offset(7))) << turns;
    append_durably(kId, 5, 3000, LeaderEpoch(2));
    EXPECT_EQ(compare(*harness_, ledger_), "");
  }
}

// Retention removed two segments, and a power cut brought back the older one. The only other one
// goes, as the log was cut to its start.
TEST_F(HistoryFindingsTest, ASegmentThatCameBackIsNotTakenForTheLastOneOfALogCutToItsStart) {
  HarnessOptions options = destaging_at_once();
  options.settings.segment_bytes = 8 << 10;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 9, 3000);
  harness_->pass(milliseconds(20));
  std::vector<std::pair<std::string, std::vector<std::byte>>> segments;
  for (const std::string& path : disk_->files()) {
    if (path.ends_with(".log")) segments.emplace_back(path, disk_->contents(path));
  }
  ASSERT_GE(segments.size(), 3U);
  const std::string& last = segments.back().first;
  const Offset start_of_last(std::stoll(last.substr(last.size() - 24, 20)));
  ASSERT_TRUE(harness_->trim(kId, start_of_last));
  harness_->pass(milliseconds(20));
  ASSERT_TRUE(harness_->truncate(kId, start_of_last));
  crash(sim::CrashPolicy::everything());
  disk_->put(segments.front().first, segments.front().second);
  start(options);
  PartitionLog* log = harness_->find(kId);
  EXPECT_EQ(log->health(), LogHealth::kSound);
  EXPECT_EQ(log->log_start(), start_of_last);
  EXPECT_EQ(log->log_end(), start_of_last);
  append_durably(kId, 2, 300, LeaderEpoch(2));
}

// A removal that waits for what is in flight holds its log; so does the callback inside the log.
TEST_F(HistoryFindingsTest, AStoreThatGoesBeforeARemovalEndedLeavesNoBuffers) {
  HarnessOptions options = one_shard();
  options.latency = [](const sim::SimIoOperation&) { return milliseconds(50); };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(append_threes(1));
  ASSERT_TRUE(harness_->append_batch(kId, produced_batch(kId, {}, 3)));
  harness_->pass(milliseconds(1));
  bool answered = false;
  harness_->shard_of(kId).remove(kId, [&](const Result<>&) { answered = true; });
  harness_->pass(milliseconds(1));
  disk_->power_off();
  harness_.reset();  // its buffer pool insists on having every buffer back
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace tidelog::log
