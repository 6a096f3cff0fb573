#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "log/log_tail.h"
#include "log/tail_cache.h"
#include "tests/log/log_harness.h"
#include "wire/record_batch.h"

namespace tidelog::log {
namespace {

class PartitionLogTest : public testing::Test {
 protected:
  void start(HarnessOptions options = {}) {
    harness_ = std::make_unique<LogHarness>(disk_, ledger_, std::move(options));
    const auto opened = harness_->open();
    ASSERT_TRUE(opened) << opened.error().to_string();
  }
  void restart(HarnessOptions options = {}) {
    harness_.reset();
    start(std::move(options));
  }

  sim::SimDisk disk_;
  Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
  TopicPartition id_ = partition_of(2, 0);
};

TEST_F(PartitionLogTest, AppendsAreReadableAtOnceAndDurableLater) {
  start();
  ASSERT_TRUE(harness_->create(id_));
  const auto result = harness_->append(id_, 100);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->base_offset, Offset(0));
  EXPECT_EQ(result->next_offset, Offset(1));
  EXPECT_EQ(harness_->find(id_)->durable_end(), Offset(0));
  EXPECT_EQ(ledger_.logs[id_].acknowledged, Offset(0));
  ASSERT_TRUE(harness_->wait_durable(id_));
  EXPECT_EQ(ledger_.logs[id_].acknowledged, Offset(1));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(PartitionLogTest, EverythingIsThereAfterAKill) {
  start();
  ASSERT_TRUE(harness_->create(id_));
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(harness_->append(id_, 700));
    harness_->pass(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(harness_->wait_durable(id_));
  restart();
  EXPECT_FALSE(harness_->store().recovery().clean);
  EXPECT_EQ(harness_->find(id_)->log_end(), Offset(200));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(PartitionLogTest, GoesOnAfterACleanStopWithoutAScan) {
  start();
  ASSERT_TRUE(harness_->create(id_));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(harness_->append(id_, 700));
  ASSERT_TRUE(harness_->stop_cleanly());
  restart();
  EXPECT_TRUE(harness_->store().recovery().clean);
  EXPECT_TRUE(harness_->store().needs_new_epochs());
  EXPECT_EQ(compare(*harness_, ledger_), "");
  harness_->listen(id_);
  ASSERT_TRUE(harness_->append(id_, 50));
  ASSERT_TRUE(harness_->wait_durable(id_));
  EXPECT_EQ(ledger_.logs[id_].acknowledged, Offset(21));
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

// Records that go straight to a segment, because the ring has no room, need the quiet write as much
// as others: without it, rot in their segment write looks like a torn one.
TEST_F(PartitionLogTest, AQuietWriteProvesWhatBecameDurableWithoutTheJournal) {
  HarnessOptions options;
  options.shards = 1;
  options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
  start(options);
  ASSERT_TRUE(harness_->create(id_));
  for (int i = 0; i < 7; ++i) {
    ASSERT_TRUE(harness_->append(id_, 100));
    ASSERT_TRUE(harness_->wait_durable(id_));
  }
  harness_->pass(std::chrono::milliseconds(100));
  const auto writes = [this] { return harness_->shard_of(id_).counters().journal_writes; };
  const auto before = writes();
  ASSERT_EQ(before, 8U) << "one each, and the quiet one: half of the ring";
  ASSERT_TRUE(harness_->append(id_, 20000));
  ASSERT_TRUE(harness_->wait_durable(id_));
  ASSERT_EQ(writes(), before) << "the ring had room";
  harness_->pass(std::chrono::milliseconds(200));
  EXPECT_EQ(writes(), before + 1);
}

TEST(TailCacheTest, LogsThatAreGoneLeaveNothingBehind) {
  BufferPool pool(0);
  TailCache cache(1 << 20);
  const auto lives = std::make_shared<LogTail>(pool, Offset(0));
  std::size_t most = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto gone = std::make_shared<LogTail>(pool, Offset(0));
    cache.add(gone, 3, 300);
    cache.forget(300);
    if (i % 100 == 0) cache.add(lives, 1, 10);
    most = std::max(most, cache.chunks());
  }
  EXPECT_GE(cache.chunks(), 100U) << "of the one that lives";
  EXPECT_LE(most, 300U);
}

TEST_F(PartitionLogTest, AnIdleStoreWritesNothing) {
  start();
  ASSERT_TRUE(harness_->create(id_));
  ASSERT_TRUE(harness_->append(id_, 100));
  ASSERT_TRUE(harness_->wait_durable(id_));
  harness_->pass(std::chrono::seconds(20));
  const std::uint64_t points = disk_.points();
  harness_->pass(std::chrono::seconds(60));
  EXPECT_EQ(disk_.points(), points);
  // What is true later gets to the disk, into both copies of the checkpoint.
  ASSERT_TRUE(harness_->append(id_, 100));
  ASSERT_TRUE(harness_->wait_durable(id_));
  const auto first = disk_.contents("data/checkpoint.0");
  const auto second = disk_.contents("data/checkpoint.1");
  harness_->pass(std::chrono::seconds(20));
  EXPECT_NE(disk_.contents("data/checkpoint.0"), first);
  EXPECT_NE(disk_.contents("data/checkpoint.1"), second);
}

}  // namespace
}  // namespace tidelog::log
