// What random histories meet too rarely: each a rule of the storage that would be missed.
#include <gtest/gtest.h>

#include <algorithm>
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
  HarnessOptions options = one_shard();
  options.store.shard.free_space_bytes_min = 0;
  options.store.shard.free_space_ratio_min = 0;
  start(options);
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
  start(options);
  EXPECT_EQ(compare(*harness_, ledger_), "");
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
