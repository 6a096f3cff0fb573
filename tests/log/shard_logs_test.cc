// What the logs of a shard share: the catalog, directories, space.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "log/catalog.h"
#include "log/io/system_file_system.h"
#include "log/partition_directories.h"
#include "tests/log/log_harness.h"
#include "tests/log/passing_disk.h"
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

// Runs nothing before it is let go: as a thread that somebody else's large files occupy.
class HeldThread final : public BlockingExecutor {
 public:
  void run(Task job, Executor& home, Task done) override {
    waiting_.push_back([job = std::move(job), &home, done = std::move(done)]() mutable {
      job();
      home.post(std::move(done));
    });
    if (let_go_) let_go();
  }
  std::size_t waiting() const { return waiting_.size(); }
  void let_go() {
    let_go_ = true;
    for (Task& task : std::exchange(waiting_, {})) task();
  }

 private:
  std::vector<Task> waiting_;
  bool let_go_ = false;
};

TEST(ShardLogsTest, ALongRemovalKeepsNobodyWaitingAndEndsWithTheBroker) {
  const TopicPartition first = partition_of(2, 0);
  const TopicPartition second = partition_of(3, 0);
  const TopicPartition other = partition_of(4, 0);
  sim::SimDisk disk;
  Ledger ledger;
  HeldThread thread;
  HarnessOptions options;
  options.removal = &thread;
  auto harness = std::make_unique<LogHarness>(disk, ledger, options);
  ASSERT_TRUE(harness->open());
  for (const TopicPartition& id : {first, second}) {
    ASSERT_TRUE(harness->create(id));
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(harness->append(id, 2000));
    ASSERT_TRUE(harness->wait_durable(id));
  }
  harness->pass(milliseconds(100));
  std::vector<ErrorCode> answers;
  for (const TopicPartition& id : {first, second}) {
    harness->shard_of(id).remove(id, [&](const Result<>& removed) {
      answers.push_back(removed ? ErrorCode::kOk : removed.error().code());
    });
  }
  harness->pass(milliseconds(100));
  EXPECT_EQ(thread.waiting(), 2U);
  // Others are made, get segments and checkpoints meanwhile; the same ones do not.
  ASSERT_TRUE(harness->create(other));
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(harness->append(other, 2000));
    ASSERT_TRUE(harness->wait_durable(other));
  }
  harness->pass(milliseconds(100));
  EXPECT_TRUE(*disk.exists("data/" + other.to_string() + "/00000000000000000000.log"));
  ASSERT_TRUE(harness->trim(other, Offset(5)));
  bool again = false;
  harness->shard_of(first).create(first, {}, [&](const Result<PartitionLog*>&) { again = true; });
  harness->pass(milliseconds(100));
  EXPECT_FALSE(again);
  EXPECT_TRUE(answers.empty());
  // What has not begun when the broker stops, the next start does.
  for (const TopicPartition& id : {first, second}) {
    harness->shard_of(id).close([](const Result<>& closed) { EXPECT_TRUE(closed); });
  }
  harness->pass(milliseconds(100));
  thread.let_go();
  ASSERT_TRUE(harness->executor().run_until([&] { return answers.size() == 2; }));
  EXPECT_EQ(answers, std::vector(2, ErrorCode::kDraining));
  EXPECT_TRUE(*disk.exists("data/" + second.to_string() + "/00000000000000000000.log"));
  harness->pass(milliseconds(100));
  ASSERT_TRUE(harness->store().finish_clean_stop());
  harness.reset();
  ledger.logs.erase(second);
  ledger.logs[first] = LedgerLog();
  harness = std::make_unique<LogHarness>(disk, ledger);
  ASSERT_TRUE(harness->open());
  EXPECT_EQ(harness->find(second), nullptr);
  EXPECT_FALSE(*disk.exists("data/" + second.to_string()));
  EXPECT_EQ(harness->find(other)->log_start(), Offset(5));
}

TEST(ShardLogsTest, AStopWaitsForOneFileOfARemovalNotForAll) {
  class SlowDisk final : public PassingDisk {
   public:
    using PassingDisk::PassingDisk;
    Result<> remove_file(const std::string& path) override {
      if (path.ends_with(".log") && ++segments == 2) on_second();
      return PassingDisk::remove_file(path);
    }
    int segments = 0;
    std::function<void()> on_second;
  };
  const TopicPartition id = partition_of(2, 0);
  sim::SimDisk disk;
  Ledger ledger;
  SlowDisk slow(disk);
  HarnessOptions options;
  options.shards = 1;
  options.files = &slow;
  auto harness = std::make_unique<LogHarness>(disk, ledger, options);
  ASSERT_TRUE(harness->open());
  ASSERT_TRUE(harness->create(id));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(harness->append(id, 2000));
    ASSERT_TRUE(harness->wait_durable(id));
  }
  harness->pass(milliseconds(100));
  bool closed = false;
  slow.on_second = [&] {
    harness->shard_of(id).close([&](const Result<>& result) { closed = result.has_value(); });
  };
  ErrorCode answer = ErrorCode::kOk;
  harness->shard_of(id).remove(id, [&](const Result<>& removed) {
    if (!removed) answer = removed.error().code();
  });
  ASSERT_TRUE(harness->executor().run_until([&] { return closed; }));
  EXPECT_EQ(answer, ErrorCode::kDraining);
  EXPECT_EQ(slow.segments, 2);
  ASSERT_TRUE(harness->store().finish_clean_stop());
  harness.reset();
  ledger.logs.clear();
  harness = std::make_unique<LogHarness>(disk, ledger);
  ASSERT_TRUE(harness->open());
  EXPECT_EQ(harness->find(id), nullptr);
  EXPECT_FALSE(*disk.exists("data/" + id.to_string()));
}

// Of directories and files, while `change` is made.
std::uint64_t syncs_of(const sim::SimDisk& disk, const std::function<void()>& change) {
  const auto count = [&disk] {
    return disk.operations(sim::DiskOperation::kSync) +
           disk.operations(sim::DiskOperation::kSyncDirectory);
  };
  const std::uint64_t before = count();
  change();
  return count() - before;
}

void create_all(LogHarness& harness, std::int32_t partitions) {
  std::int32_t created = 0;
  for (std::int32_t i = 0; i < partitions; ++i) {
    const TopicPartition id = partition_of(2, i);
    harness.shard_of(id).create(id, {}, [&](const Result<PartitionLog*>& log) {
      EXPECT_TRUE(log) << log.error().to_string();
      ++created;
    });
  }
  ASSERT_TRUE(harness.executor().run_until([&] { return created == partitions; }));
}

TEST(ShardLogsTest, ARemovalTakesAsManySyncsForAThousandLogsAsForTen) {
  const auto syncs_for = [](std::int32_t partitions) {
    sim::SimDisk disk;
    Ledger ledger;
    HarnessOptions options;
    options.shards = 1;
    LogHarness harness(disk, ledger, options);
    EXPECT_TRUE(harness.open());
    create_all(harness, partitions);
    return syncs_of(disk, [&] {
      std::int32_t removed = 0;
      for (std::int32_t i = 0; i < partitions; ++i) {
        const TopicPartition id = partition_of(2, i);
        harness.shard_of(id).remove(id, [&](const Result<>& result) {
          EXPECT_TRUE(result) << result.error().to_string();
          ++removed;
        });
      }
      EXPECT_TRUE(harness.executor().run_until([&] { return removed == partitions; }));
      EXPECT_FALSE(*disk.exists("data/" + partition_of(2, 0).topic.to_string()));
    });
  };
  EXPECT_EQ(syncs_for(1000), syncs_for(10));
}

TEST(ShardLogsTest, AStopEndsTheRemovalOfLogsWithoutFilesAndTheNextStartFinishesIt) {
  class CountingDisk final : public PassingDisk {
   public:
    using PassingDisk::PassingDisk;
    Result<> remove_directory(const std::string& path) override {
      if (++removed == 500) on_half();
      return PassingDisk::remove_directory(path);
    }
    int removed = 0;
    std::function<void()> on_half;
  };
  constexpr std::int32_t kLogs = 1000;
  sim::SimDisk disk;
  Ledger ledger;
  CountingDisk counting(disk);
  HarnessOptions options;
  options.shards = 1;
  options.files = &counting;
  auto harness = std::make_unique<LogHarness>(disk, ledger, options);
  ASSERT_TRUE(harness->open());
  create_all(*harness, kLogs);
  ShardLogs& logs = harness->shard_of(partition_of(2, 0));
  bool closed = false;
  counting.on_half = [&] {
    logs.close([&](const Result<>& result) { closed = result.has_value(); });
  };
  std::map<ErrorCode, int> answers;
  for (std::int32_t i = 0; i < kLogs; ++i) {
    logs.remove(partition_of(2, i), [&](const Result<>& removed) {
      ++answers[removed ? ErrorCode::kOk : removed.error().code()];
    });
  }
  ASSERT_TRUE(harness->executor().run_until([&] { return closed; }));
  EXPECT_EQ(counting.removed, 500);
  EXPECT_EQ(answers[ErrorCode::kOk] + answers[ErrorCode::kDraining], kLogs);
  EXPECT_EQ(answers[ErrorCode::kOk], 500);
  ASSERT_TRUE(harness->store().finish_clean_stop());
  harness.reset();
  // The next start removes the rest, with no more syncs than another one.
  const auto start = [&] {
    HarnessOptions one;
    one.shards = 1;
    harness = std::make_unique<LogHarness>(disk, ledger, one);
    ASSERT_TRUE(harness->open());
    EXPECT_TRUE(harness->all().empty());
    EXPECT_FALSE(*disk.exists("data/" + partition_of(2, 0).topic.to_string()));
  };
  EXPECT_LT(syncs_of(disk, start), 40U);
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
            if (result) result = directories.settle(ids);
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
