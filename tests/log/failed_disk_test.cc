// What a disk that fails does to logs: who is told, what goes on, what never does.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "log/io/storage_error.h"
#include "log/journal_format.h"
#include "log/repair.h"
#include "tests/log/log_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

const TopicPartition kOnOtherShard = partition_of(3, 0);

class FailedDiskTest : public LogFixture {
 protected:
  // Drives the executor until the truncation is answered, 10 seconds at most.
  std::optional<Result<>> truncate(const TopicPartition& id, Offset offset) {
    auto answer = std::make_shared<std::optional<Result<>>>();
    harness_->find(id)->truncate(offset, [answer](Result<> result) { *answer = result; });
    harness_->pass(std::chrono::seconds(10));
    return *answer;
  }
  bool exists(const std::string& path) const {
    const auto files = disk_->files();
    return std::ranges::find(files, path) != files.end();
  }
  ErrorCode append_code(const TopicPartition& id) {
    const auto appended = harness_->append(id, 50);
    return appended ? ErrorCode::kOk : appended.error().code();
  }
};

TEST_F(FailedDiskTest, AReadErrorBeforeACutAnswersTheCutAndFailsNothingElse) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 9);
  disk_->fail_nth(sim::DiskOperation::kRead, 1, sim::DiskFault::kIoError);
  const auto refused = truncate(kId, Offset(4));
  ASSERT_TRUE(refused);
  ASSERT_FALSE(*refused);
  EXPECT_EQ(refused->error().code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
  append_durably(kId, 1);
  ASSERT_TRUE(harness_->truncate(kId, Offset(4)));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(FailedDiskTest, ATruncationUnderWayIsAnsweredWhenTheDirectoryFails) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 9);
  disk_->fail_nth(sim::DiskOperation::kTruncate, 1, sim::DiskFault::kIoError);
  const auto answer = truncate(kId, Offset(4));
  ASSERT_TRUE(answer);
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kFailed);
}

TEST_F(FailedDiskTest, ARemovalOnAFailedDirectoryEndsAndRemovesNothing) {
  for (const bool before : {true, false}) {
    SCOPED_TRACE(before ? "asked before the failure" : "asked after the failure");
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    start();
    ASSERT_TRUE(harness_->create(kId));
    append_durably(kId, 9);
    disk_->fail_nth(sim::DiskOperation::kTruncate, 1, sim::DiskFault::kIoError);
    bool truncated = false;
    harness_->find(kId)->truncate(Offset(4), [&](const Result<>&) { truncated = true; });
    if (before) {
      PartitionLog* log = harness_->find(kId);
      ASSERT_TRUE(harness_->executor().run_until([&] { return log->log_end() == Offset(4); }));
      ASSERT_EQ(log->health(), LogHealth::kSound) << "the cut came too early for this test";
    } else {
      harness_->pass(std::chrono::seconds(1));
    }
    std::optional<Result<>> removed;
    harness_->shard_of(kId).remove(kId, [&](Result<> result) { removed = std::move(result); });
    harness_->pass(std::chrono::seconds(1));
    EXPECT_TRUE(truncated);
    ASSERT_TRUE(removed);
    ASSERT_FALSE(*removed);
    EXPECT_EQ(removed->error().code(), ErrorCode::kStorageFailed);
    EXPECT_TRUE(exists(segment_of(kId)));
    harness_.reset();
  }
}

TEST_F(FailedDiskTest, ACreationOnAFailedDirectoryIsRefused) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  disk_->fail_nth(sim::DiskOperation::kWrite, 1, sim::DiskFault::kIoError);
  ASSERT_TRUE(harness_->append(kId, 100));
  harness_->pass(milliseconds(500));
  std::optional<ErrorCode> code;
  harness_->shard_of(kOther).create(kOther, {}, [&](const Result<PartitionLog*>& created) {
    code = created ? ErrorCode::kOk : created.error().code();
  });
  harness_->pass(milliseconds(500));
  EXPECT_TRUE(code == ErrorCode::kStorageFailed);
  EXPECT_EQ(harness_->find(kOther), nullptr);
}

TEST_F(FailedDiskTest, NothingIsAcknowledgedOnceASegmentFailed) {
  HarnessOptions options = one_shard();
  bool slow = false;
  options.latency = [&](const sim::SimIoOperation& operation) {
    const bool journal = operation.path.contains("/journal/");
    return slow && journal ? milliseconds(50) : microseconds(50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kId, 13, 1500);
  slow = true;
  disk_->fail_nth(sim::DiskOperation::kSync, 1, sim::DiskFault::kIoError);
  ASSERT_TRUE(harness_->append(kId, 1500));  // fills what is destaged
  ASSERT_TRUE(harness_->append(kOther, 100));
  harness_->executor().run_until([&] {
    return harness_->find(kId)->health() == LogHealth::kFailed ||
           harness_->find(kOther)->durable_end() > Offset(0);
  });
  slow = false;
  for (int i = 0; i < 40 && append_code(kId) == ErrorCode::kOk; ++i)
    harness_->pass(milliseconds(5));
  ASSERT_EQ(harness_->find(kId)->health(), LogHealth::kFailed);
  const Offset acknowledged = ledger_.logs[kId].acknowledged;
  const Offset durable = harness_->find(kId)->durable_end();
  harness_->pass(std::chrono::seconds(1));
  EXPECT_EQ(ledger_.logs[kId].acknowledged, acknowledged);
  EXPECT_EQ(harness_->find(kId)->durable_end(), durable);
}

TEST_F(FailedDiskTest, AJournalWriteInFlightWhenASegmentFailsIsNotAcknowledged) {
  HarnessOptions options = one_shard();
  bool slow = false;
  options.latency = [&](const sim::SimIoOperation& operation) {
    return slow && operation.path.contains("/journal/") ? milliseconds(50) : microseconds(50);
  };
  options.store.shard.destage_bytes = 1 << 20;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append_durably(kId, 3);
  slow = true;
  ASSERT_TRUE(harness_->append(kOther, 100));
  harness_->pass(milliseconds(1));
  // The cut brings the other log to its segment first, which fails.
  disk_->fail_nth(sim::DiskOperation::kSync, 1, sim::DiskFault::kIoError);
  harness_->find(kId)->truncate(Offset(1), [](const Result<>&) {});
  ASSERT_TRUE(harness_->executor().run_until(
      [&] { return harness_->find(kId)->health() == LogHealth::kFailed; }));
  ASSERT_EQ(harness_->find(kOther)->durable_end(), Offset(0)) << "the journal was too fast";
  harness_->pass(std::chrono::seconds(1));
  EXPECT_EQ(ledger_.logs[kOther].acknowledged, Offset(0));
  EXPECT_EQ(harness_->find(kOther)->durable_end(), Offset(0));
}

TEST_F(FailedDiskTest, WhatOneShardFindsEndsAcknowledgementsOfAllShards) {
  HarnessOptions options;
  options.shards = 2;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOnOtherShard));
  append_durably(kOnOtherShard, 1);
  std::size_t heard = 0;
  harness_->find(kOnOtherShard)->on_failure([&](const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorageFailed);
    ++heard;
  });
  EXPECT_FALSE(harness_->store().failure());
  disk_->fail_nth(sim::DiskOperation::kWrite, 1, sim::DiskFault::kIoError);
  ASSERT_TRUE(harness_->append(kId, 100));
  harness_->pass(milliseconds(500));
  ASSERT_EQ(harness_->find(kId)->health(), LogHealth::kFailed);
  EXPECT_EQ(harness_->find(kOnOtherShard)->health(), LogHealth::kFailed);
  EXPECT_EQ(heard, 1U);
  EXPECT_EQ(append_code(kOnOtherShard), ErrorCode::kStorageFailed);
  ASSERT_TRUE(harness_->store().failure());
  EXPECT_TRUE(harness_->store().failure()->message().contains("injected"));
  // Reads of what is sound go on.
  EXPECT_TRUE(harness_->read_all(kOnOtherShard, Offset(0), Offset(1)));
}

TEST_F(FailedDiskTest, WhatWasCutStaysCutWhenTheHeadToKeepIsDamaged) {
  start();
  ASSERT_TRUE(harness_->create(kOther));
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kOther, 1);  // holds the journal's tail
  append_durably(kId, 9, 1000);
  std::optional<Result<>> answered;
  harness_->find(kId)->truncate(Offset(9), [&](Result<> result) { answered = result; });
  harness_->pass(milliseconds(100));
  answered.reset();
  // All of it in its segment, as before the cut.
  harness_->find(kId)->truncate(Offset(2), [&](Result<> result) { answered = result; });
  std::vector<std::byte> before;
  ASSERT_TRUE(harness_->executor().run_until([&] {
    if (!answered && exists(segment_of(kId))) {
      auto now = disk_->contents(segment_of(kId));
      if (now.size() >= before.size()) before = std::move(now);
    }
    return answered.has_value() && answered->has_value() &&
           harness_->find(kId)->log_end() == Offset(2);
  }));
  append_durably(kOther, 1);  // says that the cut's journal write was complete
  auto& kept = ledger_.logs[kId].batches;
  kept.erase(kept.lower_bound(Offset(2)), kept.end());
  crash();
  // The power went before the cut reached the file, and the head to keep rotted in the journal.
  disk_->put(segment_of(kId), before);
  disk_->flip_bit("data/journal/0-0",
                  (entry_at("data/journal/0-0", EntryKind::kTruncate).batches + 200) * 8);
  for (int restart = 1; restart <= 3; ++restart) {
    SCOPED_TRACE(fmt::format("start {}", restart));
    start();
    PartitionLog* log = harness_->find(kId);
    EXPECT_EQ(log->health(), LogHealth::kLossy);
    EXPECT_EQ(log->log_end(), Offset(2));
    const auto held = harness_->read_all(kId, Offset(0), log->log_end());
    ASSERT_TRUE(held) << held.error().to_string();
    std::vector<std::byte> wanted;
    for (const auto& [base, batch] : kept) {
      wanted.insert(wanted.end(), batch.bytes.begin(), batch.bytes.end());
    }
    EXPECT_EQ(*held, wanted) << "the segment still holds the head";
    EXPECT_LE(log->epoch_end(LeaderEpoch(1)).end, Offset(2));
    crash();
  }
  // Accepted, it takes records again where it was cut.
  {
    auto repair = Repair::open(*disk_, "data");
    ASSERT_TRUE(repair) << repair.error().to_string();
    const auto finding = (*repair)->find();
    ASSERT_TRUE(finding && *finding);
    const auto accepted = (*repair)->accept();
    ASSERT_TRUE(accepted) << accepted.error().to_string();
    const auto more = (*repair)->find();
    ASSERT_TRUE(more && !*more);
  }
  for (int life = 0; life < 2; ++life) {
    start();
    EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
    EXPECT_EQ(harness_->find(kId)->log_end(), Offset(2 + 3 * life));
    harness_->listen(kId);
    append_durably(kId, 3, 700, LeaderEpoch(5 + life));
    ledger_.logs.erase(kOther);
    const auto held = harness_->read_all(kId, Offset(0), harness_->find(kId)->log_end());
    ASSERT_TRUE(held) << held.error().to_string();
    std::vector<std::byte> wanted;
    for (const auto& [base, batch] : kept) {
      wanted.insert(wanted.end(), batch.bytes.begin(), batch.bytes.end());
    }
    EXPECT_EQ(*held, wanted);
    crash();
  }
}

TEST_F(FailedDiskTest, ABlockThatCannotBeReadCostsItsBatchesOnly) {
  HarnessOptions options = one_shard();
  options.store.shard.tail_cache_bytes = 0;
  options.store.shard.index_interval_bytes = 1;  // an entry for each batch
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 30, 900);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  disk_->spoil(segment_of(kId), 2 * io::kBlockBytes);
  start(options);
  std::size_t sound = 0;
  std::size_t refused = 0;
  for (Offset at(0); at < Offset(30); at = at + 1) {
    const auto batch = harness_->read_all(kId, at, at + 1);
    if (batch) {
      EXPECT_EQ(*batch, ledger_.logs[kId].batches.at(at).bytes);
      ++sound;
      continue;
    }
    ++refused;
    EXPECT_EQ(batch.error().code(), ErrorCode::kCorruptData) << batch.error().to_string();
    EXPECT_TRUE(harness_->find(kId)->next_sound_offset(at));
  }
  EXPECT_GE(refused, 3U);
  EXPECT_LE(refused, 7U);
  EXPECT_EQ(sound + refused, 30U);
  EXPECT_EQ(harness_->find(kId)->health(), LogHealth::kSound);
}

TEST_F(FailedDiskTest, ADamagedLengthIsNotBelievedWhenMemoryIsTaken) {
  HarnessOptions options = one_shard();
  options.store.shard.tail_cache_bytes = 0;
  options.store.shard.index_interval_bytes = 1;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 30, 900);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  // The length of the first batch: 2 MiB more.
  disk_->flip_bit(segment_of(kId), (io::kBlockBytes + kWriteHeaderBytes + 18) * 8 + 5);
  start(options);
  const auto batch = harness_->read_all(kId, Offset(0), Offset(1));
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().code(), ErrorCode::kCorruptData);
  EXPECT_EQ(harness_->shard_of(kId).counters().cold_reads, 1U);
  EXPECT_TRUE(harness_->read_all(kId, Offset(1), Offset(2)));
}

TEST_F(FailedDiskTest, AJournalThatCouldNotGrowLeavesNothingBehind) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  disk_->limit_space(112 << 10);  // too little for another 64 KiB
  for (int i = 0; i < 60 && harness_->append(kId, 2000); ++i) harness_->pass(milliseconds(5));
  EXPECT_FALSE(exists("data/journal/0-1"));
}

TEST(StorageErrorTest, AFailedSyncIsFinalWhateverItsReason) {
  // Other writes' errors may be among those that it tells, and it tells them once.
  EXPECT_EQ(io::sync_error(ENOSPC, "sync", "f").code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(io::sync_error(EDQUOT, "sync", "f").code(), ErrorCode::kStorageFailed);
  EXPECT_EQ(io::storage_error(ENOSPC, "write", "f").code(), ErrorCode::kStorageFull);
}

TEST(StorageErrorTest, TooManyOpenFilesAreNoFailureOfTheDisk) {
  EXPECT_EQ(io::storage_error(EMFILE, "open", "f").code(), ErrorCode::kOverloaded);
  EXPECT_EQ(io::storage_error(ENFILE, "create", "f").code(), ErrorCode::kOverloaded);
}

// What is missing beside data.

TEST_F(FailedDiskTest, AMissingCatalogBesideTopicsRefusesTheStart) {
  start();
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  const auto refused = [&](std::initializer_list<const char*> missing) {
    auto disk = disk_->crash_image(sim::CrashPolicy::everything());
    for (const char* path : missing) disk->erase(path);
    EXPECT_TRUE(disk->remove_directory("data/journal"));
    Ledger ledger;
    LogHarness harness(*disk, ledger, one_shard());
    const auto opened = harness.open();
    return !opened && opened.error().code() == ErrorCode::kCorruptData;
  };
  EXPECT_TRUE(refused({"data/catalog.0", "data/catalog.1", "data/journal/0-0"}));
  EXPECT_TRUE(refused(
      {"data/meta.0", "data/meta.1", "data/catalog.0", "data/catalog.1", "data/journal/0-0"}));
}

}  // namespace
}  // namespace tidelog::log
