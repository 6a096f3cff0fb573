// What the logs of a shard share: the catalog, directories, space.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "log/catalog.h"
#include "log/io/system_file_system.h"
#include "log/partition_directories.h"
#include "tests/log/log_harness.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

TEST(ShardLogsTest, ARemovalThatFindsNoSpaceEndsBeforeTheNextLifeBegins) {
  const TopicPartition id = partition_of(2, 0);
  // Both copies of the catalog, before the files go and behind them.
  for (std::uint64_t write = 1; write <= 4; ++write) {
    SCOPED_TRACE(write);
    sim::SimDisk disk;
    Ledger ledger;
    auto harness = std::make_unique<LogHarness>(disk, ledger);
    ASSERT_TRUE(harness->open());
    ASSERT_TRUE(harness->create(id));
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness->append(id, 300));
    ASSERT_TRUE(harness->wait_durable(id));
    harness->pass(milliseconds(100));

    disk.fail_nth(sim::DiskOperation::kWrite, write, sim::DiskFault::kNoSpace);
    bool created_again = false;
    bool removed_first = false;
    harness->shard_of(id).remove(id, [&](const Result<>& removed) {
      EXPECT_TRUE(removed) << removed.error().to_string();
      removed_first = !created_again;
    });
    harness->shard_of(id).create(id, {}, [&](const Result<PartitionLog*>& created) {
      EXPECT_TRUE(created) << created.error().to_string();
      created_again = true;
    });
    ASSERT_TRUE(harness->executor().run_until([&] { return created_again; }));
    EXPECT_TRUE(removed_first);
    ledger.logs[id] = LedgerLog();
    harness->listen(id);
    ASSERT_TRUE(harness->append(id, 100));
    ASSERT_TRUE(harness->wait_durable(id));
    harness.reset();  // as kill -9 does
    harness = std::make_unique<LogHarness>(disk, ledger);
    ASSERT_TRUE(harness->open());
    EXPECT_EQ(harness->find(id)->log_end(), Offset(1));
    EXPECT_EQ(compare(*harness, ledger), "");
  }
}

TEST(ShardLogsTest, LargeBatchesTakeNoMoreOfTheJournalThanSmallOnes) {
  constexpr std::int64_t kLarge = 1 << 20;
  constexpr std::int64_t kSmall = 64 << 10;
  HarnessOptions options;
  options.shards = 1;
  options.store.shard.journal_bytes_min = options.store.shard.journal_bytes_max = 64 << 20;
  options.store.shard.journal_write_bytes_max = 256 << 10;
  options.store.shard.destage_bytes = 64 << 20;  // the journal alone makes records durable
  sim::SimDisk disk;
  Ledger ledger;
  LogHarness harness(disk, ledger, options);
  ASSERT_TRUE(harness.open());
  const TopicPartition large = partition_of(2, 0);
  const TopicPartition small = partition_of(4, 0);
  ASSERT_TRUE(harness.create(large));
  ASSERT_TRUE(harness.create(small));
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(harness.append(large, kLarge));
  for (int i = 0; i < 8 * 16; ++i) ASSERT_TRUE(harness.append(small, kSmall));
  for (std::int64_t batches = 1; batches < 8; ++batches) {
    ASSERT_TRUE(harness.executor().run_until(
        [&] { return ledger.logs[large].acknowledged >= Offset(batches); }));
    EXPECT_GE(ledger.logs[small].acknowledged.value() * kSmall, (batches - 2) * kLarge);
  }
}

TEST(CatalogTest, APartitionThatWasBeingRemovedLivesAgainUnderANewIncarnation) {
  sim::SimDisk disk;
  ASSERT_TRUE(disk.make_directories("data"));
  Catalog catalog(disk, "data/catalog");
  ASSERT_TRUE(catalog.load());
  const auto turn = [&](std::optional<ReplicaState> state) {
    const std::array<Catalog::Change, 1> change{{{partition_of(1, 0), state}}};
    return catalog.apply(change)->front();
  };
  const std::uint32_t first = turn(ReplicaState::kLives);
  EXPECT_EQ(turn(ReplicaState::kLives), first);
  EXPECT_EQ(turn(ReplicaState::kRemoving), first);
  EXPECT_NE(turn(ReplicaState::kLives), first);
}

TEST(PartitionDirectoriesTest, MakesAndRemovesPartitionsOfOneTopicSideBySide) {
  const io::TemporaryDirectory directory;
  io::SystemFileSystem files(false);
  PartitionDirectories directories(files, DataPaths{directory.path()});
  std::vector<std::thread> threads;
  std::array<Result<>, 3> results;
  for (std::int32_t partition = 0; partition < 3; ++partition) {
    threads.emplace_back(
        [&directories, partition, &result = results[static_cast<std::size_t>(partition)]] {
          const std::array<TopicPartition, 1> ids{partition_of(1, partition)};
          for (int i = 0; i < 200 && result; ++i) {
            result = directories.make(ids);
            if (result) result = directories.remove(ids[0]);
          }
        });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Result<>& result : results) EXPECT_TRUE(result) << result.error().to_string();
  const auto topic = files.exists(directory.path() + "/" + partition_of(1, 0).topic.to_string());
  EXPECT_TRUE(topic && !*topic) << "the last one takes the topic's directory";
}

}  // namespace
}  // namespace tidelog::log
