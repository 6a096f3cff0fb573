// Recovery from rot: what is lost is told, and only that.
#include <gtest/gtest.h>

#include <algorithm>

#include "log/inspect.h"
#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

class LogDamageTest : public LogFixture {};

TEST_F(LogDamageTest, RotInAJournalWriteBehindAQuietWriteIsLossNotATornTail) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  harness_->pass(milliseconds(200));
  crash(sim::CrashPolicy::nothing());
  disk_->flip_bit("data/journal/0-0", (journal_write_at("data/journal/0-0", 2) + 200) * 8);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kId)->append(make_batch(kId, 1, 10), LeaderEpoch(5)).error().code(),
            ErrorCode::kLostData);
  ASSERT_EQ(harness_->find(kId)->holes().size(), 1U);
  EXPECT_EQ(harness_->find(kId)->holes()[0].begin, Offset(2));
  EXPECT_EQ(harness_->find(kId)->holes()[0].end, Offset(3));
  EXPECT_TRUE(told("LOSSY"));
  // What is sound is served, what is lost is refused.
  const auto sound = harness_->read_all(kId, Offset(0), Offset(2));
  ASSERT_TRUE(sound) << sound.error().to_string();
  const auto lost = harness_->read_all(kId, Offset(2), Offset(3));
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code(), ErrorCode::kLostData);
  // It stays so.
  crash(sim::CrashPolicy::everything());
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
}

TEST_F(LogDamageTest, ATruncationWithADamagedHeadStillVoidsWhatItCut) {
  append_truncate_append();
  const std::string journal = "data/journal/0-0";
  disk_->flip_bit(journal, (entry_at(journal, EntryKind::kTruncate).batches + 200) * 8);
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(4));
}

TEST_F(LogDamageTest, ALostTruncationDoesNotBringBackWhatItCut) {
  append_truncate_append();
  const std::string journal = "data/journal/0-0";
  disk_->flip_bit(journal, (entry_at(journal, EntryKind::kTruncate).write + 17) * 8);
  start();
  // Newer records stand where older ones were; what the lost write said is not known.
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  const auto held = harness_->read_all(kId, Offset(0), Offset(4));
  ASSERT_TRUE(held) << held.error().to_string();
  std::vector<std::byte> wanted;
  for (const auto& [base, batch] : ledger_.logs[kId].batches) {
    wanted.insert(wanted.end(), batch.bytes.begin(), batch.bytes.end());
  }
  EXPECT_EQ(*held, wanted);
}

TEST_F(LogDamageTest, ALossThatACheckpointConfirmedStaysConfirmedOverACrashDuringTheStart) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kOther);
  harness_->pass(milliseconds(200));  // one that only names the end
  append_durably(kId);
  harness_->pass(std::chrono::seconds(6));
  crash(sim::CrashPolicy::everything());
  const std::string journal = "data/journal/0-0";
  disk_->flip_bit(journal, (journal_write_at(journal, 1) + 17) * 8);
  bool ended = false;
  for (std::uint64_t point = 1; !ended; ++point) {
    const auto first = disk_->crash_image(sim::CrashPolicy::everything());
    first->stop_at(point);
    Ledger ledger = ledger_;
    {
      LogHarness harness(*first, ledger, one_shard());
      static_cast<void>(harness.open());
    }
    ended = !first->powered_off();
    for (const auto& policy : {sim::CrashPolicy::nothing(), sim::CrashPolicy::everything()}) {
      const auto second = first->crash_image(policy);
      LogHarness harness(*second, ledger, one_shard());
      ASSERT_TRUE(harness.open());
      ASSERT_EQ(compare(harness, ledger), "") << first->stopped_by() << ", " << policy.to_string();
    }
  }
}

TEST_F(LogDamageTest, ALossInOneJournalCostsNoOtherJournalsEntries) {
  HarnessOptions two;
  two.shards = 2;
  const TopicPartition other = partition_of(3, 0);  // kId's and kOther's shard is the first
  start(two);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  ASSERT_TRUE(harness_->create(other));
  append_durably(kId, 3);
  append_durably(other, 3);
  crash(sim::CrashPolicy::everything());
  disk_->flip_bit("data/journal/0-0", (journal_write_at("data/journal/0-0", 1) + 17) * 8);
  HarnessOptions three;
  three.shards = 3;
  start(three);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(other)->health(), LogHealth::kSound);
  EXPECT_EQ(harness_->find(other)->log_end(), Offset(3));
}

TEST_F(LogDamageTest, AMissingJournalOfOneShardIsLossForItsLogsOnly) {
  HarnessOptions two;
  two.shards = 2;
  const TopicPartition other = partition_of(3, 0);
  for (const TopicPartition& lost : {kId, other}) {
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    start(two);
    ASSERT_TRUE(harness_->create(kId));
    ASSERT_TRUE(harness_->create(other));
    append_durably(lost, 3);  // the other shard's journal stays without a write
    crash(sim::CrashPolicy::everything());
    const std::string journal = lost == kId ? "data/journal/0-0" : "data/journal/1-0";
    disk_->erase(journal);
    const auto report = verify_path(*disk_, "data");
    ASSERT_TRUE(report && !report->problems.empty());
    EXPECT_TRUE(report->problems[0].contains(journal)) << report->problems[0];
    for (int life = 0; life < 2; ++life) {
      start(two);
      EXPECT_EQ(life == 0, told(journal + " is missing"));
      EXPECT_EQ(harness_->find(lost)->health(), LogHealth::kLossy);
      EXPECT_EQ(harness_->find(lost == kId ? other : kId)->health(), LogHealth::kSound);
      crash(sim::CrashPolicy::everything());
    }
  }
}

TEST_F(LogDamageTest, AMissingJournalAfterACleanStopCostsOnlyWhatItHeld) {
  HarnessOptions two;
  two.shards = 2;
  const TopicPartition other = partition_of(3, 0);
  const TopicPartition empty = partition_of(5, 0);
  start(two);
  for (const TopicPartition& id : {kId, other, empty}) ASSERT_TRUE(harness_->create(id));
  append_durably(kId, 3);
  append_durably(other, 3);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  disk_->erase("data/journal/1-0");
  start(two);
  EXPECT_TRUE(told("data/journal/1-0 is missing"));
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  EXPECT_EQ(harness_->find(empty)->health(), LogHealth::kSound) << "its end is known";
  EXPECT_EQ(harness_->find(other)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(other)->log_end(), Offset(3));
}

// One block after the other cannot be read: no start is refused, and nothing is lost silently.
TEST_F(LogDamageTest, AnUnreadableBlockRefusesNoStart) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 9, 3000);
  ASSERT_TRUE(harness_->truncate(kId, Offset(7)));
  append_durably(kId, 2, 150);
  harness_->pass(std::chrono::seconds(6));  // quiet write, checkpoint
  crash(sim::CrashPolicy::everything());
  std::uint64_t spoiled = 0;
  std::uint64_t refused = 0;
  for (const std::string& path : disk_->files()) {
    const std::uint64_t size = disk_->contents(path).size();
    for (std::uint64_t at = 0; at < size; at += io::kBlockBytes) {
      auto damaged = disk_->crash_image(sim::CrashPolicy::everything());
      damaged->spoil(path, at);
      ++spoiled;
      Ledger ledger = ledger_;
      LogHarness harness(*damaged, ledger, one_shard());
      const auto opened = harness.open();
      ASSERT_TRUE(opened) << path << " at " << at << ": " << opened.error().to_string();
      PartitionLog* log = harness.find(kId);
      ASSERT_NE(log, nullptr) << path << " at " << at;
      ASSERT_GE(log->log_end(), Offset(9)) << path << " at " << at;
      for (const auto& [base, batch] : ledger_.logs[kId].batches) {
        const auto held = harness.read_all(kId, base, batch.next);
        ASSERT_TRUE(!held || *held == batch.bytes) << path << " at " << at;
        refused += held ? 0 : 1;
      }
    }
  }
  EXPECT_GT(spoiled, 30U);
  EXPECT_GT(refused, 0U);
}

TEST_F(LogDamageTest, ALostHeaderMakesEveryUnconfirmedLogOfTheShardLossy) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kOther);
  append_durably(kId);
  append_durably(kId);
  crash(sim::CrashPolicy::nothing());
  // The header of the second write: which logs it held is not known any more. The third proves that
  // it was complete.
  disk_->flip_bit("data/journal/0-0", (journal_write_at("data/journal/0-0", 1) + 17) * 8);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kOther)->health(), LogHealth::kLossy);
}

TEST_F(LogDamageTest, AMissingSegmentMakesTheLogLossyNotEmpty) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 30, 2000);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const std::string segment = "data/" + kId.to_string() + "/00000000000000000000.log";
  disk_->erase(segment);
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(30));
}

TEST_F(LogDamageTest, AListedReplicaWithoutItsDirectoryIsLossy) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  for (const std::string& path : disk_->files()) {
    if (path.contains(kId.to_string())) disk_->erase(path);
  }
  ASSERT_TRUE(disk_->remove_directory("data/" + kId.to_string()));
  ASSERT_TRUE(disk_->sync_directory("data/" + kId.topic.to_string()));
  start();
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kLossy);
  EXPECT_EQ(harness_->shard_of(kId).counters().lossy_logs, 1U);
  ASSERT_TRUE(harness_->remove(kId));
  EXPECT_EQ(harness_->shard_of(kId).counters().lossy_logs, 0U);
}

TEST_F(LogDamageTest, RotInASealedSegmentRefusesThatRangeOnly) {
  HarnessOptions options = one_shard();
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 60, 2000);  // more than a segment
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const std::string segment = "data/" + kId.to_string() + "/00000000000000000000.log";
  disk_->flip_bit(segment, 30000 * 8 + 3);
  start(options);
  PartitionLog* log = harness_->find(kId);
  EXPECT_EQ(log->health(), LogHealth::kSound);
  const auto refused = harness_->read_all(kId, Offset(0), Offset(60));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kCorruptData);
  // A hundred reads of the rest: each batch but one comes back as it was written.
  std::size_t unreadable = 0;
  for (std::int64_t offset = 0; offset < 60; ++offset) {
    const auto batch = harness_->read_all(kId, Offset(offset), Offset(offset + 1));
    if (!batch) {
      EXPECT_EQ(batch.error().code(), ErrorCode::kCorruptData);
      EXPECT_EQ(log->next_sound_offset(Offset(offset)), Offset(offset + 1));
      ++unreadable;
      continue;
    }
    EXPECT_EQ(*batch, ledger_.logs[kId].batches[Offset(offset)].bytes) << offset;
  }
  EXPECT_EQ(unreadable, 1U);
}

TEST_F(LogDamageTest, ADamagedRangeIsKnownFromTheReadThatMetItUntilTheLogBeginsBehindIt) {
  const auto known = [this] { return harness_->shard_of(kId).counters().damaged_ranges; };
  for (const bool by_trim : {true, false}) {
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = Ledger();
    start();
    ASSERT_TRUE(harness_->create(kId));
    append_durably(kId, 60, 2000);  // more than a segment
    ASSERT_TRUE(harness_->stop_cleanly());
    harness_.reset();
    disk_->flip_bit("data/" + kId.to_string() + "/00000000000000000000.log", 30000 * 8 + 3);
    start();
    EXPECT_EQ(known(), 0U);
    ASSERT_FALSE(harness_->read_all(kId, Offset(0), Offset(60)));
    const std::vector<Hole> damaged = harness_->find(kId)->damaged_ranges();
    ASSERT_EQ(damaged.size(), 1U);
    EXPECT_EQ(damaged[0].end, damaged[0].begin + 1);
    EXPECT_EQ(known(), 1U);
    ASSERT_FALSE(harness_->read_all(kId, damaged[0].begin, damaged[0].end));
    EXPECT_EQ(known(), 1U) << "met again";
    if (by_trim) {
      ASSERT_TRUE(harness_->trim(kId, damaged[0].begin));
      EXPECT_EQ(known(), 1U);
      ASSERT_TRUE(harness_->trim(kId, damaged[0].end));
      EXPECT_TRUE(harness_->find(kId)->damaged_ranges().empty());
    } else {
      ASSERT_TRUE(harness_->remove(kId));
    }
    EXPECT_EQ(known(), 0U);
  }
}

TEST_F(LogDamageTest, OneBadCopyOfMetaCatalogAndCheckpointIsToldAndHealed) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  crash(sim::CrashPolicy::everything());
  for (const char* file : {"data/meta.0", "data/catalog.1", "data/checkpoint.0"})
    disk_->flip_bit(file, 333);
  start();
  EXPECT_TRUE(told("meta.0"));
  EXPECT_TRUE(told("catalog.1"));
  EXPECT_TRUE(told("checkpoint.0"));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  crash(sim::CrashPolicy::everything());
  start();
  EXPECT_FALSE(told("meta"));
  EXPECT_FALSE(told("catalog"));
}

TEST_F(LogDamageTest, TwoBadCopiesOfMetaOrCatalogRefuseTheStartAndNameTheCommand) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId);
  for (const std::string file : {"data/meta", "data/catalog"}) {
    auto damaged = disk_->crash_image(sim::CrashPolicy::everything());
    damaged->flip_bit(file + ".0", 100);
    damaged->flip_bit(file + ".1", 100);
    LogHarness harness(*damaged, ledger_, one_shard());
    const auto opened = harness.open();
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::kCorruptData);
    EXPECT_TRUE(opened.error().message().contains("tidelog log verify data"))
        << opened.error().message();
  }
}

// Flips one bit in each byte that says something, file by file: the log is a prefix that is told to
// be short, or the start is refused; bytes are never altered.
TEST_F(LogDamageTest, NoFlippedBitAltersDataOrLosesItSilently) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 9, 3000);
  ASSERT_TRUE(harness_->truncate(kId, Offset(7)));
  append_durably(kId, 2, 150);
  harness_->pass(std::chrono::seconds(6));  // quiet write, checkpoint
  crash(sim::CrashPolicy::everything());
  std::vector<std::byte> all;
  for (const auto& [base, batch] : ledger_.logs[kId].batches) {
    all.insert(all.end(), batch.bytes.begin(), batch.bytes.end());
  }
  std::uint64_t flips = 0;
  std::uint64_t lossy = 0;
  for (const std::string& path : disk_->files()) {
    const auto bytes = disk_->contents(path);
    const std::size_t stride = bytes.size() > 8192 ? 13 : 1;
    for (std::size_t at = 0; at < bytes.size(); at += stride) {
      if (bytes[at] == std::byte{0}) continue;
      auto damaged = disk_->crash_image(sim::CrashPolicy::everything());
      damaged->flip_bit(path, at * 8 + at % 8);
      ++flips;
      Ledger ledger = ledger_;
      LogHarness harness(*damaged, ledger, one_shard());
      const auto opened = harness.open();
      if (!opened) {
        EXPECT_TRUE(opened.error().code() == ErrorCode::kCorruptData) << path << " byte " << at;
        continue;
      }
      PartitionLog* log = harness.find(kId);
      ASSERT_NE(log, nullptr) << path << " byte " << at;
      std::vector<std::byte> held;
      for (Offset from = log->log_start(); from < log->log_end(); from = from + 1) {
        const auto batch = harness.read_all(kId, from, from + 1);
        if (!batch) break;
        held.insert(held.end(), batch->begin(), batch->end());
      }
      ASSERT_TRUE(held.size() <= all.size() && std::equal(held.begin(), held.end(), all.begin()))
          << path << " byte " << at;
      if (held.size() == all.size()) continue;
      ++lossy;
      ASSERT_TRUE(log->log_end() >= Offset(9))
          << path << " byte " << at << " cut acknowledged data";
    }
  }
  EXPECT_GT(flips, 1000U);
  EXPECT_GT(lossy, 0U);
}

}  // namespace
}  // namespace tidelog::log
