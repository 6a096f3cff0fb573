#include "replication/local_store.h"

#include <gtest/gtest.h>

#include "tests/replication/open_store.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::SimDisk;

TEST(LocalStoreTest, KeepsKeysAndRevisionsOverACleanStop) {
  SimDisk disk;
  {
    OpenStore first(disk);
    ASSERT_FALSE(first.error);
    EXPECT_TRUE(first.store->created());
    ASSERT_TRUE(first.commit({put("a", "1"), put("b", "2")}));
    ASSERT_TRUE(first.commit({erase("a")}));
    ASSERT_TRUE(first.close());
  }
  const auto found = disk.crash_image(CrashPolicy::nothing());
  OpenStore second(*found);
  ASSERT_FALSE(second.error);
  EXPECT_FALSE(second.store->created());
  EXPECT_EQ(second.store->recovery_note(), "");
  EXPECT_EQ(second.value("a"), "");
  EXPECT_EQ(second.value("b"), "2");
  EXPECT_EQ(second.commit({put("c", "3")})->revision, 3u);
}

TEST(LocalStoreTest, RefusesASecondStoreOnOneDirectory) {
  SimDisk disk;
  OpenStore first(disk);
  ASSERT_FALSE(first.error);
  OpenStore second(disk);
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->code(), ErrorCode::kDirectoryInUse);
}

TEST(LocalStoreTest, LetsTheDirectoryGoWhenItIsClosed) {
  SimDisk disk;
  OpenStore first(disk);
  ASSERT_TRUE(first.close());
  OpenStore second(disk);
  EXPECT_FALSE(second.error);
}

TEST(LocalStoreTest, RefusesTransactionsOnceItIsClosed) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.close());
  EXPECT_EQ(open.commit({put("a", "1")}).error().code(), ErrorCode::kCancelled);
}

TEST(LocalStoreTest, DeletesTheKeysOfLeasesThatAnEarlierProcessHeld) {
  SimDisk disk;
  {
    OpenStore first(disk);
    const auto lease = answer_of<LeaseId>(first.executor, [&](auto done) {
      first.store->grant_lease(std::chrono::hours(1), std::move(done));
    });
    ASSERT_TRUE(first.commit({put("leased", "1", *lease), put("free", "1")}));
  }
  const auto found = disk.crash_image(CrashPolicy::nothing());
  OpenStore second(*found);
  EXPECT_EQ(second.value("leased"), "");
  EXPECT_EQ(second.value("free"), "1");
  EXPECT_EQ(list(second.executor, *second.store, "")->revision, 2u);
}

TEST(LocalStoreTest, WritesManyQueuedTransactionsWithOneSync) {
  SimDisk disk;
  OpenStore open(disk);
  ASSERT_TRUE(open.commit({put("first", "")}));
  const std::uint64_t points_before = disk.points();
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    open.store->commit({{}, {put("k" + std::to_string(i), "v")}},
                       [&answers](Result<TransactionResult> result) {
                         ASSERT_TRUE(result && result->succeeded);
                         ++answers;
                       });
  }
  ASSERT_TRUE(open.executor.run_until([&answers] { return answers == 100; }));
  // One transaction may go alone before the others have gathered: two writes and two syncs, each a
  // few points.
  EXPECT_LE(disk.points() - points_before, 8u);
}

TEST(LocalStoreTest, ReplacesALongLogByASnapshotAndGoesOn) {
  SimDisk disk;
  OpenStore open(disk, 16 << 10);
  std::string last_log = log_file(disk);
  int logs = 1;
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(open.commit({put("k" + std::to_string(i % 7), std::to_string(i))}));
    open.executor.run_until_idle();
    if (log_file(disk) != last_log) ++logs;
    last_log = log_file(disk);
  }
  EXPECT_GT(logs, 2);
  const auto found = disk.crash_image(CrashPolicy::nothing());
  OpenStore again(*found);
  ASSERT_FALSE(again.error);
  EXPECT_EQ(again.value("k4"), "39");
  EXPECT_EQ(list(again.executor, *again.store, "")->revision, 40u);
  EXPECT_EQ(found->files().size(), 2u) << "old logs were left behind";
}

}  // namespace
}  // namespace tidelog::replication
