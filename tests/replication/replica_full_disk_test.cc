// A stop on a full disk, over the real log on a simulated one: what no write ever took is answered
// as not stored, and is not; what one took may be there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "replication/replica.h"
#include "tests/log/log_harness.h"
#include "tests/log/produced_batches.h"

namespace tidelog::replication {
namespace {

using log::LogHarness;
using std::chrono::milliseconds;
using testing::ElementsAre;

constexpr BrokerId kSelf{0};
const TopicPartition kLog = log::partition_of(1, 0);

class ReplicaFullDiskTest : public testing::Test {
 protected:
  void start() {
    log::HarnessOptions options;
    options.shards = 1;
    options.store.shard.free_space_bytes_min = 0;
    options.store.shard.free_space_ratio_min = 0;
    harness_ = std::make_unique<LogHarness>(*disk_, ledger_, options);
    const auto opened = harness_->open();
    ASSERT_TRUE(opened) << opened.error().to_string();
    if (harness_->find(kLog) == nullptr) {
      ASSERT_TRUE(harness_->create(kLog));
    }
    replica_ = std::make_unique<Replica>(harness_->executor(), *harness_->find(kLog),
                                         ReplicaOptions{.self = kSelf});
    replica_->become_leader(LeaderEpoch(++epoch_), InSyncSet({kSelf}));
    answers_.clear();
  }
  log::ShardLogs& shard() { return harness_->store().shard(0); }

  // The next record of the idempotent producer 7, or the one with `sequence`.
  void produce(std::int32_t sequence) {
    const std::size_t at = answers_.size();
    answers_.emplace_back("pending");
    const auto batch = log::produced_batch(kLog, {ProducerId(7), 0, sequence});
    replica_->produce(batch, Acks::kAll, [this, at](const Result<ProduceOutcome>& outcome) {
      EXPECT_EQ(answers_[at], "pending") << "settled twice";
      answers_[at] = outcome ? "ok " + std::to_string(outcome->base_offset.value())
                             : std::string(outcome.error().info().name);
    });
  }
  // Until a journal write has it.
  void produce_into_a_write(std::int32_t sequence) {
    const std::uint64_t writes = shard().counters().journal_writes;
    produce(sequence);
    ASSERT_TRUE(
        harness_->executor().run_until([&] { return shard().counters().journal_writes > writes; }));
  }
  // Two writes are on their way to a disk without space, and a third record waits for its turn.
  void fill_disk_with_three_pending(std::uint64_t faults = 2000) {
    start();
    produce(0);
    harness_->pass(milliseconds(100));
    ASSERT_THAT(answers_, ElementsAre("ok 0"));
    for (std::uint64_t n = 1; n <= faults; ++n) {
      disk_->fail_nth(sim::DiskOperation::kWrite, n, sim::DiskFault::kNoSpace);
    }
    const std::uint64_t writes = shard().counters().journal_writes;
    produce_into_a_write(1);
    produce_into_a_write(2);
    produce(3);
    produce(3);
    harness_->pass(milliseconds(250));
    ASSERT_TRUE(shard().counters().short_of_space);
    ASSERT_EQ(shard().counters().journal_writes, writes + 2);
    produce(4);
    harness_->pass(milliseconds(1));
    ASSERT_THAT(answers_,
                ElementsAre("ok 0", "pending", "pending", "pending", "pending", "STORAGE_FULL"));
  }
  void stop() {
    replica_->stop();
    bool closed = false;
    shard().close([&](const Result<>& result) { closed = result.has_value(); });
    ASSERT_TRUE(harness_->executor().run_until([&] { return closed; }, std::chrono::seconds(2)));
    replica_.reset();  // before its log goes
    ASSERT_TRUE(harness_->store().finish_clean_stop());
    harness_->executor().clear_end_of_turn_hooks();
  }
  // The next start, where the producer sends all of it again, finds each record once.
  void expect_each_once(const sim::CrashPolicy& policy) {
    auto image = disk_->crash_image(policy);
    replica_.reset();
    harness_.reset();
    disk_ = std::move(image);
    start();
    for (std::int32_t sequence = 0; sequence <= 4; ++sequence) produce(sequence);
    harness_->pass(milliseconds(100));
    EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 1", "ok 2", "ok 3", "ok 4"));
    EXPECT_EQ(harness_->find(kLog)->log_end(), Offset(5));
  }

  std::unique_ptr<sim::SimDisk> disk_ = std::make_unique<sim::SimDisk>();
  log::Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
  std::unique_ptr<Replica> replica_;
  std::vector<std::string> answers_;
  int epoch_ = 0;
};

TEST_F(ReplicaFullDiskTest, AStopSaysOfWhatWaitedForAWriteThatItIsNotStored) {
  for (const bool everything : {false, true}) {
    SCOPED_TRACE(everything);
    disk_ = std::make_unique<sim::SimDisk>();
    fill_disk_with_three_pending();
    stop();
    EXPECT_THAT(answers_, ElementsAre("ok 0", "UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME", "STORAGE_FULL",
                                      "STORAGE_FULL", "STORAGE_FULL"));
    expect_each_once(everything ? sim::CrashPolicy::everything() : sim::CrashPolicy::nothing());
    replica_.reset();
    harness_.reset();
  }
}

// The writes that were tried again arrive after the answers: what was told as unknown is there,
// what was told as not stored is not.
TEST_F(ReplicaFullDiskTest, SpaceThatComesBackBehindTheAnswersBringsNothingBack) {
  fill_disk_with_three_pending(20);
  replica_->stop();
  harness_->pass(milliseconds(1));
  EXPECT_THAT(answers_, ElementsAre("ok 0", "UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME", "STORAGE_FULL",
                                    "STORAGE_FULL", "STORAGE_FULL"));
  EXPECT_EQ(harness_->find(kLog)->log_end(), Offset(3));
  ASSERT_TRUE(harness_->executor().run_until([&] { return disk_->faults_left() == 0; }));
  harness_->pass(milliseconds(300));
  EXPECT_EQ(harness_->find(kLog)->durable_end(), Offset(3));
  EXPECT_EQ(shard().counters().undurable_bytes, 0U);
  // What was known of the producer went back with its records, and they do not come in their place.
  const auto again = harness_->find(kLog)->append(log::produced_batch(kLog, {ProducerId(7), 0, 3}),
                                                  LeaderEpoch(1));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::kStorageFull);
  stop();
  harness_.reset();
  start();
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_EQ(harness_->find(kLog)->log_end(), Offset(3));
  expect_each_once(sim::CrashPolicy::nothing());
}

TEST_F(ReplicaFullDiskTest, WithSpaceAStopTakesNothingBack) {
  start();
  produce(0);
  replica_->stop();
  harness_->pass(milliseconds(100));
  EXPECT_THAT(answers_, ElementsAre("UNKNOWN_OUTCOME"));
  EXPECT_EQ(harness_->find(kLog)->durable_end(), Offset(1));
}

}  // namespace
}  // namespace tidelog::replication
