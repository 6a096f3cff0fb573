// Named cases of recovery: what storage.md promises, one by one.
#include <gtest/gtest.h>

#include <algorithm>

#include "log/journal_format.h"
#include "log/log_store.h"
#include "tests/log/log_harness.h"

namespace tidelog::log {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

const TopicPartition kId = partition_of(2, 0);
const TopicPartition kOther = partition_of(4, 0);

class LogRecoveryTest : public testing::Test {
 protected:
  static HarnessOptions one_shard() {
    HarnessOptions options;
    options.shards = 1;
    return options;
  }
  void start(HarnessOptions options = one_shard()) {
    harness_ = std::make_unique<LogHarness>(*disk_, ledger_, std::move(options));
    const auto opened = harness_->open();
    ASSERT_TRUE(opened) << opened.error().to_string();
  }
  // The power goes now; what was not synced survives as `policy` says.
  void crash(const sim::CrashPolicy& policy) {
    disk_->power_off();
    auto image = disk_->crash_image(policy);
    harness_.reset();
    disk_ = std::move(image);
  }
  // The process ends now, the power does not: what was not synced is there and may be lost later.
  void kill() {
    disk_->power_off();
    auto image = disk_->kill_image(sim::CrashPolicy::everything());
    harness_.reset();
    disk_ = std::move(image);
  }
  // Appends one record and waits until it is acknowledged.
  void append_durably(const TopicPartition& id, int count = 1, std::size_t bytes = 300) {
    for (int i = 0; i < count; ++i) {
      const auto appended = harness_->append(id, bytes);
      ASSERT_TRUE(appended) << appended.error().to_string();
      ASSERT_TRUE(harness_->wait_durable(id));
    }
  }
  // Position of the n-th write header (from 0) in a journal file, by its magic.
  std::uint64_t journal_write_at(const std::string& path, std::size_t n) {
    const auto bytes = disk_->contents(path);
    for (std::uint64_t at = kJournalDataStart; at < bytes.size(); at += io::kBlockBytes) {
      if (has_write_magic(std::span(bytes).subspan(at)) && n-- == 0) return at;
    }
    ADD_FAILURE() << "no such write in " << path;
    return 0;
  }
  // Position of the first journal entry of `kind`'s batches in the file; and of its write.
  struct EntryPlace {
    std::uint64_t write = 0;
    std::uint64_t batches = 0;
  };
  EntryPlace entry_at(const std::string& path, EntryKind kind) {
    const auto bytes = disk_->contents(path);
    for (std::uint64_t at = kJournalDataStart; at < bytes.size(); at += io::kBlockBytes) {
      const auto header = decode_write_header(std::span(bytes).subspan(at));
      if (!header) continue;
      std::uint64_t batches = at + kWriteHeaderBytes + header->entries * kJournalEntryBytes;
      for (std::uint32_t i = 0; i < header->entries; ++i) {
        const auto entry =
            decode_journal_entry(bytes.data() + at + kWriteHeaderBytes + i * kJournalEntryBytes);
        if (entry && entry->kind == kind) return {at, batches};
        if (entry) batches += entry->length;
      }
    }
    ADD_FAILURE() << "no such entry in " << path;
    return {};
  }
  // kId holds offsets 0 and 1, which a truncation left of nine, and two new records; the journal
  // still holds all that ever was.
  void append_truncate_append() {
    start();
    ASSERT_TRUE(harness_->create(kOther));
    ASSERT_TRUE(harness_->create(kId));
    append_durably(kOther);  // holds the journal's tail
    append_durably(kId, 9, 3000);
    harness_->pass(milliseconds(20));
    ASSERT_TRUE(harness_->truncate(kId, Offset(2)));
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(harness_->append(kId, 150, LeaderEpoch(2)));
      ASSERT_TRUE(harness_->wait_durable(kId));
    }
    crash(sim::CrashPolicy::everything());
  }
  bool told(std::string_view what) {
    const auto& problems = harness_->store().recovery().problems;
    return std::ranges::any_of(problems, [&](const std::string& p) { return p.contains(what); });
  }

  std::unique_ptr<sim::SimDisk> disk_ = std::make_unique<sim::SimDisk>();
  Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
};

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

TEST_F(LogRecoveryTest, RotInAJournalWriteBehindAQuietWriteIsLossNotATornTail) {
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

TEST_F(LogRecoveryTest, ATruncationWithADamagedHeadStillVoidsWhatItCut) {
  append_truncate_append();
  const std::string journal = "data/journal/0-0";
  disk_->flip_bit(journal, (entry_at(journal, EntryKind::kTruncate).batches + 200) * 8);
  start();
  EXPECT_EQ(compare(*harness_, ledger_), "");
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(4));
}

TEST_F(LogRecoveryTest, ALostTruncationDoesNotBringBackWhatItCut) {
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

TEST_F(LogRecoveryTest, ALossThatACheckpointConfirmedStaysConfirmedOverACrashDuringTheStart) {
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

TEST_F(LogRecoveryTest, ALossInOneJournalCostsNoOtherJournalsEntries) {
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

// One block after the other cannot be read: no start is refused, and nothing is lost silently.
TEST_F(LogRecoveryTest, AnUnreadableBlockRefusesNoStart) {
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

TEST_F(LogRecoveryTest, ALostHeaderMakesEveryUnconfirmedLogOfTheShardLossy) {
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

TEST_F(LogRecoveryTest, AMissingSegmentMakesTheLogLossyNotEmpty) {
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

TEST_F(LogRecoveryTest, AListedReplicaWithoutItsDirectoryIsLossy) {
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
}

TEST_F(LogRecoveryTest, RotInASealedSegmentRefusesThatRangeOnly) {
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

TEST_F(LogRecoveryTest, OneBadCopyOfMetaCatalogAndCheckpointIsToldAndHealed) {
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

TEST_F(LogRecoveryTest, TwoBadCopiesOfMetaOrCatalogRefuseTheStartAndNameTheCommand) {
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

TEST_F(LogRecoveryTest, ADamagedCleanStopMarkerOnlyCostsAScan) {
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

TEST_F(LogRecoveryTest, TheMarkerIsGoneBeforeTheFirstAppend) {
  start();
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  start();
  EXPECT_TRUE(harness_->store().recovery().clean);
  crash(sim::CrashPolicy::nothing());
  start();
  EXPECT_FALSE(harness_->store().recovery().clean);
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

TEST_F(LogRecoveryTest, AFailedJournalWriteIsFinal) {
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

TEST_F(LogRecoveryTest, AFailedSegmentSyncIsFinal) {
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

TEST_F(LogRecoveryTest, AFullDiskRefusesAppendsUntilThereIsSpaceAndLosesNothing) {
  HarnessOptions options = one_shard();
  options.store.shard.free_space_bytes_min = 0;
  options.store.shard.free_space_ratio_min = 0;
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

// Flips one bit in each byte that says something, file by file: the log is a prefix that is told to
// be short, or the start is refused; bytes are never altered.
TEST_F(LogRecoveryTest, NoFlippedBitAltersDataOrLosesItSilently) {
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
