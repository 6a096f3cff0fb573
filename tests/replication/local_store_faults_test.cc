// A local store on a disk that fails writes and syncs, or has no space.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "tests/replication/open_store.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::DiskFault;
using sim::DiskOperation;
using sim::SimDisk;

TEST(LocalStoreFaultsTest, AnswersUnknownOutcomeForAFailedWriteAndRefusesEverythingAfter) {
  for (const DiskOperation operation : {DiskOperation::kWrite, DiskOperation::kSync}) {
    SimDisk disk;
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1")}));
    disk.fail_nth(operation, 1, DiskFault::kIoError);
    EXPECT_EQ(open.commit({put("a", "2")}).error().code(), ErrorCode::kUnknownOutcome);
    EXPECT_EQ(open.commit({put("a", "3")}).error().code(), ErrorCode::kStorageFailed);
    EXPECT_EQ(open.value("a"), "1") << "what is not stable is not shown";
  }
}

// After a failed sync the bytes may read well and be lost all the same. A process that starts again
// must not build on them before they are stable.
TEST(LocalStoreFaultsTest, WhatAFailedSyncLeftIsStableOrGoneAfterTheNextStart) {
  SimDisk disk;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1")}));
    disk.fail_nth(DiskOperation::kSync, 1, DiskFault::kIoError);
    EXPECT_FALSE(open.commit({put("a", "2")}));
  }
  std::string seen;
  {
    OpenStore open(disk);
    ASSERT_FALSE(open.error);
    seen = open.value("a");
    ASSERT_TRUE(open.commit({put("b", "1")}));
  }
  for (const CrashPolicy& policy : disk.crash_policies(16, 3)) {
    const auto found = disk.crash_image(policy);
    OpenStore open(*found);
    ASSERT_FALSE(open.error) << policy.to_string() << ": " << open.error->message();
    EXPECT_EQ(open.value("a"), seen) << policy.to_string();
    EXPECT_EQ(open.value("b"), "1") << policy.to_string();
  }
}

TEST(LocalStoreFaultsTest, NoSpaceRefusesOnlyTheTransactionsItHits) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.commit({put("a", "1")}));
  disk.fail_nth(DiskOperation::kWrite, 1, DiskFault::kNoSpace);
  EXPECT_EQ(open.commit({put("a", "2")}).error().code(), ErrorCode::kStorageFull);
  EXPECT_EQ(open.value("a"), "1");
  EXPECT_EQ(open.commit({put("a", "3")})->revision, 2u);
  for (const CrashPolicy& policy : disk.crash_policies(8, 1)) {
    const auto found = disk.crash_image(policy);
    OpenStore again(*found);
    ASSERT_FALSE(again.error) << policy.to_string();
    EXPECT_EQ(again.value("a"), "3") << policy.to_string();
  }
}

// Space may be missed only when the file system makes room for what was written. The bytes are in
// the file then, and a crash may find them: nobody can say that they were not applied.
TEST(LocalStoreFaultsTest, ASyncThatMissesSpaceLeavesTheOutcomeUnknownAndIsFinal) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.commit({put("a", "1")}));
  disk.fail_nth(DiskOperation::kSync, 1, DiskFault::kNoSpace);
  EXPECT_EQ(open.commit({put("a", "2")}).error().code(), ErrorCode::kUnknownOutcome);
  EXPECT_EQ(open.commit({put("a", "3")}).error().code(), ErrorCode::kStorageFailed);
}

// Deleting topics is how people make space.
TEST(LocalStoreFaultsTest, OnAFullDiskOnlyWhatFreesSpaceUsesTheReserve) {
  SimDisk disk;
  const auto erase_all_but_one = [](OpenStore& open) {
    for (int i = 1; i < 25; ++i) {
      const auto erased = replication::commit(
          open.executor, *open.store,
          {.compares = {}, .operations = {erase("k" + std::to_string(i))}, .frees_space = true});
      ASSERT_TRUE(erased) << i << ": " << erased.error().message();
    }
  };
  {
    OpenStore open(disk);
    for (int i = 0; i < 25; ++i) ASSERT_TRUE(open.commit({put("k" + std::to_string(i), "v")}));
    disk.limit_space(0);
    // What is reserved behind the reserve may still be used up.
    Result<TransactionResult> refused;
    int taken = 0;
    while ((refused = open.commit({put("more", std::string(4000, 'x'))}))) ASSERT_LT(++taken, 1000);
    EXPECT_EQ(refused.error().code(), ErrorCode::kStorageFull);
    erase_all_but_one(open);
    EXPECT_EQ(open.commit({put("more", "")}).error().code(), ErrorCode::kStorageFull);
  }
  {
    OpenStore open(disk);
    ASSERT_FALSE(open.error) << open.error->message();
    EXPECT_EQ(open.value("k0"), "v");
    EXPECT_EQ(open.value("k1"), "");
    disk.limit_space(1ULL << 40);
    EXPECT_TRUE(open.commit({put("again", "there is space")}));
  }
}

TEST(LocalStoreFaultsTest, WhatIsWrittenTogetherWithDeletionsDoesNotUseTheReserve) {
  for (const bool deletion_first : {false, true}) {
    SimDisk disk;
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1"), put("b", "1")}));
    disk.limit_space(0);
    while (open.commit({put("more", std::string(4000, 'x'))})) {
    }
    std::optional<Result<TransactionResult>> deleted;
    std::optional<Result<TransactionResult>> written;
    const auto erase_and_put = [&](bool deletion) {
      open.store->commit(deletion ? Transaction{{}, {erase("a")}, /*frees_space=*/true}
                                  : Transaction{{}, {put("c", std::string(9000, 'x'))}, false},
                         [&answer = deletion ? deleted : written](
                             Result<TransactionResult> result) { answer = std::move(result); });
    };
    // Behind one that is under way, the next ones are written together.
    open.store->commit({{}, {erase("b")}, /*frees_space=*/true}, [](const auto&) {});
    erase_and_put(deletion_first);
    erase_and_put(!deletion_first);
    open.executor.run_until([&] { return deleted && written; });
    ASSERT_TRUE(deleted && written);
    EXPECT_TRUE(*deleted);
    ASSERT_FALSE(*written) << "first: " << deletion_first;
    EXPECT_EQ(written->error().code(), ErrorCode::kStorageFull);
  }
}

TEST(LocalStoreFaultsTest, ARefusedTransactionLeavesTheReserveWhole) {
  SimDisk disk;
  OpenStore open(disk);
  for (int i = 0; i < 25; ++i) ASSERT_TRUE(open.commit({put("k" + std::to_string(i), "v")}));
  disk.fail_nth(DiskOperation::kWrite, 1, DiskFault::kNoSpace);
  EXPECT_EQ(open.commit({put("more", "")}).error().code(), ErrorCode::kStorageFull);
  disk.limit_space(0);
  for (int i = 0; i < 25; ++i) {
    const auto erased = replication::commit(
        open.executor, *open.store, {{}, {erase("k" + std::to_string(i))}, /*frees_space=*/true});
    ASSERT_TRUE(erased) << i << ": " << erased.error().message();
  }
}

TEST(LocalStoreFaultsTest, ASnapshotWithoutADescriptorIsWrittenLater) {
  for (const auto& [operation, n] :
       {std::pair{DiskOperation::kOpen, 1}, std::pair{DiskOperation::kOpen, 2},
        std::pair{DiskOperation::kSyncDirectory, 1}}) {
    SimDisk disk;
    OpenStore open(disk, /*snapshot_log_bytes_min=*/64 << 10);
    const std::string first_log = log_file(disk);
    disk.fail_nth(operation, static_cast<std::uint64_t>(n), DiskFault::kNoDescriptor);
    for (int i = 0; i < 100; ++i) {
      const auto committed = open.commit({put("a", std::to_string(i))});
      ASSERT_TRUE(committed) << to_string(operation) << n << ": " << committed.error().message();
    }
    EXPECT_EQ(disk.faults_left(), 0U);
    EXPECT_NE(log_file(disk), first_log) << "no snapshot was written";
    EXPECT_EQ(std::ranges::count_if(disk.files(),
                                    [](const std::string& file) { return file.contains("/log-"); }),
              1);
    const auto found = disk.crash_image(CrashPolicy::nothing());
    OpenStore again(*found);
    ASSERT_FALSE(again.error) << again.error->message();
    EXPECT_EQ(again.value("a"), "99");
  }
}

// Until the name of the new snapshot is stable a crash may bring back the old one and its log.
TEST(LocalStoreFaultsTest,
     ASnapshotsNameThatFoundNoDescriptorIsMadeStableBeforeTheNextTransaction) {
  SimDisk disk;
  OpenStore open(disk, /*snapshot_log_bytes_min=*/64 << 10);
  const std::string first_log = log_file(disk);
  // The second is the one behind the rename; two later tries find none either.
  for (const std::uint64_t n : {2U, 3U, 4U}) {
    disk.fail_nth(DiskOperation::kSyncDirectory, n, DiskFault::kNoDescriptor);
  }
  const auto expect_after_any_crash = [&disk](const std::string& value) {
    for (const CrashPolicy& policy : disk.crash_policies(8, 5)) {
      const auto found = disk.crash_image(policy);
      OpenStore again(*found);
      ASSERT_FALSE(again.error) << policy.to_string() << ": " << again.error->message();
      EXPECT_EQ(again.value("a"), value) << policy.to_string();
    }
  };
  int last = 0;
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const auto committed = open.commit({put("a", std::to_string(i))});
    if (committed) {
      last = i;
    } else {
      EXPECT_EQ(committed.error().code(), ErrorCode::kOverloaded);
      expect_after_any_crash(std::to_string(last));
      ++refused;
    }
    ASSERT_EQ(open.value("a"), std::to_string(last));
  }
  EXPECT_EQ(disk.faults_left(), 0U);
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(last, 99);
  EXPECT_NE(log_file(disk), first_log);
  EXPECT_EQ(std::ranges::count_if(disk.files(),
                                  [](const std::string& file) { return file.contains("/log-"); }),
            1);
  expect_after_any_crash("99");
  ASSERT_TRUE(open.close());
}

TEST(LocalStoreFaultsTest, AStoreEndsAndStartsWithoutADescriptorForASnapshotsName) {
  SimDisk disk;
  {
    OpenStore open(disk, /*snapshot_log_bytes_min=*/64 << 10);
    for (std::uint64_t n = 2; n < 100; ++n) {
      disk.fail_nth(DiskOperation::kSyncDirectory, n, DiskFault::kNoDescriptor);
    }
    int taken = 0;
    while (open.commit({put("a", "kept")})) ASSERT_LT(++taken, 1000);
    EXPECT_TRUE(open.close());
  }
  for (const CrashPolicy& policy : disk.crash_policies(8, 7)) {
    const auto found = disk.crash_image(policy);
    OpenStore again(*found);
    ASSERT_FALSE(again.error) << policy.to_string() << ": " << again.error->message();
    EXPECT_EQ(again.value("a"), "kept") << policy.to_string();
    EXPECT_TRUE(again.commit({put("a", "more")})) << policy.to_string();
  }
}

TEST(LocalStoreFaultsTest, AFirstStartThatGotNoFurtherThanItsReserveIsNoLoss) {
  for (std::uint64_t point = 1; point < 40; ++point) {
    SimDisk disk;
    disk.stop_at(point);
    {
      const OpenStore open(disk);
    }
    const bool ended = !disk.powered_off();
    const auto found = disk.crash_image(CrashPolicy::everything());
    const OpenStore again(*found);
    EXPECT_FALSE(again.error) << disk.stopped_by() << ": " << again.error->message();
    if (ended) break;
  }
}

TEST(LocalStoreFaultsTest, StartsOnAFullDiskAndDeletes) {
  SimDisk disk;
  {
    OpenStore open(disk);
    ASSERT_TRUE(open.commit({put("a", "1"), put("b", "1")}));
  }
  const auto found = disk.crash_image(CrashPolicy::nothing());
  found->fail_nth(DiskOperation::kWrite, 1, DiskFault::kNoSpace);  // the snapshot of the start
  OpenStore open(*found);
  ASSERT_FALSE(open.error) << open.error->message();
  ASSERT_TRUE(open.commit({erase("a")}));
  EXPECT_EQ(open.value("b"), "1");
}

}  // namespace
}  // namespace tidelog::replication
