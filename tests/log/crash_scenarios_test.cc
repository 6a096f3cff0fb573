// What random histories meet too rarely: each a rule of the storage that would be missed.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

class CrashScenarioTest : public LogFixture {
 protected:
  static HarnessOptions each_batch_its_own_write(std::uint64_t seed) {
    HarnessOptions options = one_shard();
    options.store.shard.destage_bytes = 1;
    options.store.shard.index_save_bytes = 1 << 20;  // only a clean stop saves one
    options.seed = seed;
    return options;
  }
  // A new disk, on which kId has `count` records, each in a block of its segment of its own.
  void live_anew(std::uint64_t seed, int count) {
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    start(each_batch_its_own_write(seed));
    ASSERT_TRUE(harness_->create(kId));
    for (int i = 0; i < count; ++i) {
      append_durably(kId);
      bring_to_segment();
    }
  }
  void bring_to_segment() {
    PartitionLogSettings settings = HarnessOptions::small_settings();
    settings.segment_ms = 0;
    harness_->find(kId)->change_settings(settings);
    settings.segment_ms = -1;
    harness_->find(kId)->change_settings(settings);
    harness_->pass(milliseconds(20));
  }
  // Cuts the power at each step of `act`, each time after `prepare` on a new disk, and starts on
  // each disk that may be found: what was acknowledged is there, and each log is sound.
  void cut_at_each_step(const std::function<void()>& prepare, const std::function<void()>& act,
                        const HarnessOptions& next_start = one_shard()) {
    bool ended = false;
    for (std::uint64_t step = 1; !ended; ++step) {
      harness_.reset();
      disk_ = std::make_unique<sim::SimDisk>();
      ledger_ = {};
      prepare();
      if (HasFatalFailure()) return;
      disk_->stop_at(disk_->points() + step);
      act();
      ended = !disk_->powered_off();
      disk_->power_off();
      for (const sim::CrashPolicy& policy : disk_->crash_policies(0, step)) {
        const auto found = disk_->crash_image(policy);
        Ledger ledger = ledger_;
        LogHarness harness(*found, ledger, next_start);
        const auto opened = harness.open();
        ASSERT_TRUE(opened) << opened.error().to_string();
        ASSERT_EQ(compare(harness, ledger), "")
            << disk_->stopped_by() << ", " << policy.to_string();
      }
    }
  }
  bool exists(const std::string& path) const {
    const auto files = disk_->files();
    return std::ranges::find(files, path) != files.end();
  }
  // Where in `path` the batches of the append entries with this base stand.
  std::vector<std::uint64_t> appends_at(const std::string& path, Offset base) const {
    std::vector<std::uint64_t> places;
    for (const StoredEntry& one : entries_of(path)) {
      if (one.entry.kind == EntryKind::kAppend && one.entry.base == base) {
        places.push_back(one.batches);
      }
    }
    return places;
  }
};

// The file had another life, in which it held batches of this partition at the offsets that are due
// here.
TEST_F(CrashScenarioTest, WritesOfAnEarlierLifeOfTheFileDoNotCount) {
  live_anew(1, 3);
  const auto earlier = disk_->contents(segment_of(kId));
  live_anew(2, 1);
  crash();
  for (const std::uint64_t block : {2, 3}) {
    disk_->overwrite(segment_of(kId), block * io::kBlockBytes,
                     std::span(earlier).subspan(block * io::kBlockBytes, io::kBlockBytes));
  }
  start();
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(1));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(CrashScenarioTest, AnIndexOfAnEarlierLifeOfTheFileDoesNotCount) {
  live_anew(1, 3);
  ASSERT_TRUE(harness_->stop_cleanly());
  std::string path = segment_of(kId);
  path.replace(path.size() - 4, 4, ".idx");
  const auto earlier = disk_->contents(path);
  live_anew(2, 1);
  crash();
  disk_->put(path, earlier);
  start();
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(1));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// A journal write of which the table arrived, over the batches of a write that was there before:
// the same offset and length, and cut since.
TEST_F(CrashScenarioTest, AnEntryDoesNotCountWithTheBatchesOfAnOlderWrite) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 4);
  ASSERT_TRUE(harness_->truncate(kId, Offset(3)));
  append_durably(kId, 1, 300, LeaderEpoch(2));
  crash();
  const std::string journal = "data/journal/0-0";
  const auto places = appends_at(journal, Offset(3));
  ASSERT_EQ(places.size(), 2U);
  const auto bytes = disk_->contents(journal);
  const std::size_t length = ledger_.logs[kId].batches[Offset(3)].bytes.size();
  disk_->overwrite(journal, places[1], std::span(bytes).subspan(places[0], length));
  start();
  // The write was the last one, and nothing proves yet that it was complete.
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(3));
}

// A stop gave up for want of space, and there is some again when the marker is written.
TEST_F(CrashScenarioTest, AStopThatGaveUpLeavesNoMarker) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  for (std::uint64_t n = 1; n <= 2000; ++n) {
    disk_->fail_nth(sim::DiskOperation::kWrite, n, sim::DiskFault::kNoSpace);
  }
  ledger_.logs[kId].removed = true;
  bool answered = false;
  harness_->shard_of(kId).remove(kId, [&](const Result<>& removed) { answered = !removed; });
  bool closed = false;
  harness_->store().shard(0).close([&](const Result<>& result) { closed = result.has_value(); });
  ASSERT_TRUE(harness_->executor().run_until([&] { return closed && answered; }));
  auto scratch = disk_->open("scratch", {.mode = io::OpenMode::kCreate, .direct = false});
  ASSERT_TRUE(scratch);
  const std::vector<std::byte> byte(1);
  while (disk_->faults_left() > 0) {
    ASSERT_FALSE((*scratch)->write_at(FilePosition(0), byte));
  }
  ASSERT_TRUE(harness_->store().finish_clean_stop());
  harness_->executor().clear_end_of_turn_hooks();
  harness_.reset();
  EXPECT_FALSE(*disk_->exists("data/clean-stop"));
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// What a sync did not bring to the disk no later one does: the journal stays the only one that has
// it.
TEST_F(CrashScenarioTest, TheJournalForgetsNothingOfWhichTheSegmentsSyncFailed) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kId);
  bring_to_segment();
  append_durably(kId);
  disk_->fail_nth(sim::DiskOperation::kSync, 1, sim::DiskFault::kIoError);
  bring_to_segment();
  ASSERT_EQ(disk_->faults_left(), 0U);
  // It would say that what the segment seems to have is needed no longer.
  static_cast<void>(harness_->append(kOther, 100));
  harness_->pass(milliseconds(20));
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// A header promises that its file is whole, and no two headers of a file are written at once.
TEST_F(CrashScenarioTest, APowerCutAtAnyStepOfTheRingsGrowthLosesNoJournal) {
  HarnessOptions options = one_shard();
  options.store.shard.destage_bytes = 1 << 20;
  cut_at_each_step(
      [&] {
        start(options);
        ASSERT_TRUE(harness_->create(kId));
        append_durably(kId, 8, 3000);  // half of the ring
        ASSERT_FALSE(exists("data/journal/0-1"));
      },
      [&] {
        ASSERT_TRUE(harness_->append(kId, 3000));
        harness_->pass(milliseconds(20));
      });
  EXPECT_TRUE(exists("data/journal/0-1")) << "the ring did not grow";
}

TEST_F(CrashScenarioTest, APowerCutAtAnyStepOfACheckpointLeavesTheOneBefore) {
  cut_at_each_step(
      [&] {
        start();
        ASSERT_TRUE(harness_->create(kId));
        append_durably(kId, 5);
        ASSERT_TRUE(harness_->trim(kId, Offset(3)));  // which only checkpoints know
      },
      [&] {
        ASSERT_TRUE(harness_->append(kId, 300));
        harness_->pass(std::chrono::seconds(6));
      });
}

// The start with another number of shards brings what the journal has to a new segment.
TEST_F(CrashScenarioTest, APowerCutAtAnyStepOfAReplayLeavesNoSegmentWithoutAHeader) {
  HarnessOptions two_shards;
  two_shards.shards = 2;
  cut_at_each_step(
      [&] {
        start();
        ASSERT_TRUE(harness_->create(kId));
        append_durably(kId, 3);
        crash();
      },
      [&] {
        harness_ = std::make_unique<LogHarness>(*disk_, ledger_, two_shards);
        static_cast<void>(harness_->open());
      },
      two_shards);
  EXPECT_TRUE(exists(segment_of(kId))) << "nothing was replayed";
}

// The ring is full, and one write says what is free. Should it be lost with the one behind it,
// which it made room for, then the writes that this one damaged count as lost.
TEST_F(CrashScenarioTest, APowerCutWhileTheRingComesRoundLosesNoWriteThatMayBeNeeded) {
  HarnessOptions options = one_shard();
  options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
  options.store.shard.destage_bytes = 1 << 20;
  options.store.shard.quiet_write_after = std::chrono::seconds(60);  // confirms nothing
  options.latency = [](const sim::SimIoOperation& operation) {
    return milliseconds(operation.path.ends_with(".log") ? 50 : 5);
  };
  cut_at_each_step(
      [&] {
        start(options);
        ASSERT_TRUE(harness_->create(kOther));
        ASSERT_TRUE(harness_->create(kId));
        append_durably(kOther);  // of which no later write says anything
        append_durably(kId, 11, 3000);
      },
      [&] {
        for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_->append(kId, 3000));
        for (int ms = 0; ms < 300; ++ms) {
          harness_->executor().post([] {});  // a turn
          harness_->pass(milliseconds(1));
        }
      });
  EXPECT_EQ(harness_->find(kId)->durable_end(), Offset(16)) << "the ring did not come round";
}

// A power cut leaves the cut to the next start, with an index of what was there before. Then the
// log grows again, to other writes.
TEST_F(CrashScenarioTest, AnIndexFromBeforeACutNeverFitsTheSegmentThatGrewAgain) {
  int done_again = 0;
  bool ended = false;
  for (std::uint64_t step = 1; !ended; ++step) {
    SCOPED_TRACE(step);
    live_anew(1, 3);
    ASSERT_TRUE(harness_->stop_cleanly());
    start(each_batch_its_own_write(2));
    disk_->stop_at(disk_->points() + step);
    ended = harness_->truncate(kId, Offset(1));
    crash();
    start(each_batch_its_own_write(3));
    if (harness_->find(kId)->log_end() != Offset(1)) continue;
    done_again += ended ? 0 : 1;
    LedgerLog& log = ledger_.logs[kId];
    log.batches.erase(log.batches.lower_bound(Offset(1)), log.batches.end());
    log.truncating.reset();
    log.acknowledged = Offset(1);
    harness_->listen(kId);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_->append(kId, 100, LeaderEpoch(2)));
    ASSERT_TRUE(harness_->wait_durable(kId));
    for (int i = 0; i < 3; ++i) {
      bring_to_segment();
      append_durably(kId, 1, 500, LeaderEpoch(2));
    }
    crash();
    start();
    ASSERT_EQ(compare(*harness_, ledger_), "");
  }
  EXPECT_GT(done_again, 0);
}

// The journal has moved on, no checkpoint came yet, and a write in the middle rots.
TEST_F(CrashScenarioTest, SegmentHeadersBehindADamagedWriteSayThatItWasDurable) {
  live_anew(1, 3);
  ASSERT_TRUE(harness_->create(kOther));
  harness_->pass(milliseconds(100));  // the quiet write
  append_durably(kOther);             // says that none of it is needed
  crash();
  disk_->flip_bit(segment_of(kId), (2 * io::kBlockBytes + 200) * 8);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(3));
}

// Twice in a row the later of two writes in flight survives, and the earlier does not.
TEST_F(CrashScenarioTest, TheSecondWriteIsDurableAndTheFirstIsNotTwiceInARow) {
  for (int life = 1; life <= 2; ++life) {
    SCOPED_TRACE(life);
    int writes = 0;
    HarnessOptions options = one_shard();
    options.latency = [&](const sim::SimIoOperation& operation) {
      const bool first = operation.operation == sim::DiskOperation::kWrite && ++writes == 1;
      return std::chrono::microseconds(first ? 20000 : 100);
    };
    start(options);
    if (life == 1) {
      ASSERT_TRUE(harness_->create(kId));
      ASSERT_TRUE(harness_->create(kOther));
    }
    ASSERT_EQ(harness_->find(kId)->log_end(), Offset(0));
    ledger_.logs[kId].batches.clear();  // what was never acknowledged
    harness_->listen(kId);
    harness_->listen(kOther);
    writes = 0;
    ASSERT_TRUE(harness_->append(kId, 100, LeaderEpoch(life)));
    harness_->pass(milliseconds(1));
    ASSERT_TRUE(harness_->append(kId, 200, LeaderEpoch(life)));
    ASSERT_TRUE(harness_->append(kOther, 300, LeaderEpoch(life)));
    ASSERT_TRUE(harness_->wait_durable(kOther));
    ASSERT_EQ(ledger_.logs[kId].acknowledged, Offset(0));
    crash(sim::CrashPolicy::nothing());
  }
  start();
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(0));
  EXPECT_EQ(harness_->find(kOther)->log_end(), Offset(2));
}

// The window: before a quiet write nothing tells a damaged last write from a torn one. It is cut,
// and nothing else is.
TEST_F(CrashScenarioTest, RotInTheLastWriteBeforeTheQuietWriteCostsThatWriteOnly) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  crash(sim::CrashPolicy::nothing());
  disk_->flip_bit("data/journal/0-0", (journal_write_at("data/journal/0-0", 2) + 200) * 8);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(2));
  ledger_.logs[kId].batches.erase(Offset(2));
  ledger_.logs[kId].acknowledged = Offset(2);
  harness_->listen(kId);
  append_durably(kId, 1, 300, LeaderEpoch(2));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// A copy has no space that was taken ahead, and files of other sizes; it goes on as the original.
TEST_F(CrashScenarioTest, ADirectoryThatWasCopiedToAnotherDeviceGoesOn) {
  for (const bool stops : {true, false}) {
    SCOPED_TRACE(stops);
    live_anew(1, 3);
    append_durably(kId, 5, 3000);
    if (stops) ASSERT_TRUE(harness_->stop_cleanly());
    harness_.reset();
    auto device = std::make_unique<sim::SimDisk>(7);
    for (const std::string& path : disk_->files()) device->put(path, disk_->contents(path));
    disk_ = std::move(device);
    start();
    EXPECT_EQ(compare(*harness_, ledger_), "");
    harness_->listen(kId);
    append_durably(kId, 3, 700, LeaderEpoch(2));
    crash(sim::CrashPolicy::nothing());
    start();
    EXPECT_EQ(compare(*harness_, ledger_), "");
  }
}

// After a cut the journal has to hold the first append behind it: a start takes what segments hold
// there for what was cut. That counts for the lives that follow as well.
class CutOfAnEarlierLifeTest : public CrashScenarioTest,
                               public testing::WithParamInterface<bool> {};

TEST_P(CutOfAnEarlierLifeTest, DoesNotTakeWhatIsAppendedBehindIt) {
  bool slow = false;
  const HarnessOptions options = ring_that_fills(slow);
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kId, 9);
  ASSERT_TRUE(harness_->truncate(kId, Offset(3)));
  if (GetParam()) {
    ASSERT_TRUE(harness_->stop_cleanly());
  } else {
    kill();
  }
  start(options);
  harness_->listen(kId);
  harness_->listen(kOther);
  slow = true;
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(harness_->append(kOther, 3000, LeaderEpoch(2)));
  ASSERT_TRUE(harness_->append(kId, 100, LeaderEpoch(2)));
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_EQ(ledger_.logs[kId].acknowledged, Offset(4));
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(4));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

INSTANTIATE_TEST_SUITE_P(AfterACleanStopOrAKill, CutOfAnEarlierLifeTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "CleanStop" : "Kill"; });

}  // namespace
}  // namespace tidelog::log
