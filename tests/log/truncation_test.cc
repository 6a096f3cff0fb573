// Truncation against everything else that may be under way: a full ring, a lack of space, removal,
// readers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/log/log_harness.h"
#include "wire/batch_builder.h"

namespace tidelog::log {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

const TopicPartition kId = partition_of(2, 0);
const TopicPartition kOther = partition_of(4, 0);

HarnessOptions small_ring() {
  HarnessOptions options;
  options.shards = 1;
  options.store.shard.journal_bytes_max = options.store.shard.journal_bytes_min;
  return options;
}

class TruncationTest : public testing::Test {
 protected:
  void start(HarnessOptions options) {
    harness_ = std::make_unique<LogHarness>(*disk_, ledger_, std::move(options));
    const auto opened = harness_->open();
    ASSERT_TRUE(opened) << opened.error().to_string();
  }
  // As kill -9 does.
  void restart(HarnessOptions options) {
    harness_.reset();
    start(std::move(options));
  }
  void append(const TopicPartition& id, int count, std::size_t bytes,
              LeaderEpoch epoch = LeaderEpoch(1)) {
    for (int i = 0; i < count; ++i) {
      const auto appended = harness_->append(id, bytes, epoch);
      ASSERT_TRUE(appended) << appended.error().to_string();
    }
  }

  std::unique_ptr<sim::SimDisk> disk_ = std::make_unique<sim::SimDisk>();
  Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
};

TEST_F(TruncationTest, ACutBetweenTwoWritesHoldsNoSpaceOfTheJournal) {
  start(small_ring());
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append(kId, 3, 500);
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_TRUE(harness_->truncate(kId, Offset(0)));
  // More than the ring holds, while the first log rests.
  for (int i = 0; i < 60; ++i) {
    append(kOther, 1, 4000);
    ASSERT_TRUE(harness_->wait_durable(kOther)) << "at batch " << i;
  }
  EXPECT_EQ(compare(*harness_, ledger_), "");
  restart(small_ring());
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(TruncationTest, NeverEndsALogBeforeItsStart) {
  start(small_ring());
  ASSERT_TRUE(harness_->create(kId));
  wire::BatchBuilder builder;
  BufferPool pool(0);
  for (int i = 0; i < 10; ++i) {
    wire::RecordView record;
    record.value = "v";
    builder.add(1000 + i, record);
  }
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(kId), {}, pool);
  ASSERT_TRUE(batch);
  ASSERT_TRUE(harness_->append_batch(kId, batch->bytes()));
  append(kId, 2, 500);
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_TRUE(harness_->trim(kId, Offset(5)));
  for (const std::int64_t offset : {5, 7, 9}) {
    std::optional<Result<>> answer;
    harness_->find(kId)->truncate(Offset(offset), [&](Result<> result) { answer = result; });
    ASSERT_TRUE(harness_->executor().run_until([&] { return answer.has_value(); }));
    ASSERT_FALSE(*answer) << offset;
    EXPECT_EQ(answer->error().code(), ErrorCode::kOffsetOutOfRange);
  }
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(12));
  ASSERT_TRUE(harness_->truncate(kId, Offset(10)));
  append(kId, 1, 500, LeaderEpoch(2));
  ASSERT_TRUE(harness_->wait_durable(kId));
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(harness_->find(kId)->log_start(), Offset(5));
    EXPECT_EQ(harness_->find(kId)->log_end(), Offset(11));
    EXPECT_TRUE(harness_->read_all(kId, Offset(5), Offset(11)));
    restart(small_ring());
  }
}

TEST_F(TruncationTest, EndsWhenItsOwnLogFillsTheRing) {
  HarnessOptions options = small_ring();
  options.latency = [](const sim::SimIoOperation& operation) {
    return operation.path.ends_with(".log") ? milliseconds(20) : microseconds(50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->create(kOther));
  append(kId, 60, 4000);
  harness_->pass(milliseconds(3));
  ASSERT_LT(harness_->find(kId)->durable_end(), harness_->find(kId)->log_end())
      << "the ring had room";
  ASSERT_TRUE(harness_->truncate(kId, Offset(7)));
  EXPECT_EQ(harness_->find(kId)->log_end(), Offset(7));
  append(kId, 2, 4000, LeaderEpoch(2));
  append(kOther, 2, 4000);
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_TRUE(harness_->wait_durable(kOther));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  restart(options);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(TruncationTest, IsAnsweredByARemovalWhenItHasNotBegun) {
  start(small_ring());
  ASSERT_TRUE(harness_->create(kId));
  append(kId, 3, 500);
  harness_->pass(milliseconds(0));  // journalling now
  std::optional<Result<>> truncated;
  harness_->find(kId)->truncate(Offset(1), [&](Result<> result) { truncated = std::move(result); });
  EXPECT_TRUE(harness_->remove(kId));
  ASSERT_TRUE(truncated);
  EXPECT_EQ(truncated->error().code(), ErrorCode::kUnknownPartition);
  EXPECT_TRUE(harness_->stop_cleanly());
}

TEST_F(TruncationTest, NothingComesBackWhenADestageBeforeItFoundNoSpace) {
  HarnessOptions options = small_ring();
  options.store.shard.destage_bytes = 1 << 20;  // when the ring is half full, many chunks at once
  for (std::uint64_t write = 1; write <= 14; ++write) {
    SCOPED_TRACE(fmt::format("write {} finds no space", write));
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    start(options);
    ASSERT_TRUE(harness_->create(kId));
    ASSERT_TRUE(harness_->create(kOther));
    disk_->fail_nth(sim::DiskOperation::kWrite, write, sim::DiskFault::kNoSpace);
    append(kId, 24, 1500);
    ASSERT_TRUE(harness_->wait_durable(kId));
    harness_->pass(milliseconds(5));
    ASSERT_TRUE(harness_->truncate(kId, Offset(2)));  // between the first two chunks
    EXPECT_EQ(compare(*harness_, ledger_), "");
    // The journal goes on, without what it said of the cut.
    for (int i = 0; i < 3; ++i) {
      harness_->pass(milliseconds(250));  // a write that found no space is made again
      append(kOther, 1, 300);
      ASSERT_TRUE(harness_->wait_durable(kOther));
    }
    harness_.reset();  // as kill -9 does
    disk_ = disk_->crash_image(sim::CrashPolicy::everything());
    start(options);
    EXPECT_EQ(harness_->find(kId)->log_end(), Offset(2));
    EXPECT_EQ(compare(*harness_, ledger_), "");
    harness_.reset();
  }
}

TEST_F(TruncationTest, LeavesTheBytesThatReadersView) {
  start(small_ring());
  ASSERT_TRUE(harness_->create(kId));
  append(kId, 3, 500);
  ASSERT_TRUE(harness_->wait_durable(kId));
  PartitionLog* log = harness_->find(kId);
  const auto viewed = log->read_tail(
      Offset(0), {.up_to = log->log_end(), .bytes_max = 1 << 20, .at_least_one = true});
  ASSERT_TRUE(viewed && *viewed);
  ASSERT_EQ((*viewed)->pieces.size(), 1U);
  const auto bytes = (*viewed)->pieces[0].bytes();
  const std::vector<std::byte> before(bytes.begin(), bytes.end());
  ASSERT_TRUE(harness_->truncate(kId, Offset(1)));
  append(kId, 1, 30, LeaderEpoch(2));
  ASSERT_TRUE(harness_->stop_cleanly());  // all of it is in segments
  EXPECT_TRUE(std::ranges::equal(bytes, before));
}

TEST_F(TruncationTest, AReadUnderWayNeverGivesWhatWasCut) {
  HarnessOptions options = small_ring();
  options.store.shard.tail_cache_bytes = 0;
  options.latency = [](const sim::SimIoOperation& operation) {
    return operation.operation == sim::DiskOperation::kRead ? milliseconds(50) : microseconds(50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  append(kId, 40, 900);
  ASSERT_TRUE(harness_->wait_durable(kId));
  harness_->pass(milliseconds(10));
  PartitionLog* log = harness_->find(kId);
  std::optional<Result<ReadResult>> answer;
  log->read(Offset(5), {.up_to = Offset(6), .bytes_max = 1, .at_least_one = true},
            [&](Result<ReadResult> result) { answer = std::move(result); });
  std::optional<Result<ReadResult>> beyond;
  log->read(Offset(20), {.up_to = Offset(21), .bytes_max = 1, .at_least_one = true},
            [&](Result<ReadResult> result) { beyond = std::move(result); });
  harness_->pass(milliseconds(1));
  ASSERT_EQ(harness_->shard_of(kId).counters().cold_reads, 2U);
  ASSERT_TRUE(harness_->truncate(kId, Offset(3)));
  append(kId, 15, 900, LeaderEpoch(2));
  ASSERT_TRUE(harness_->wait_durable(kId));
  ASSERT_FALSE(answer || beyond) << "the reads were not under way";
  ASSERT_TRUE(harness_->executor().run_until([&] { return answer && beyond; }));
  ASSERT_TRUE(*answer) << answer->error().to_string();
  ASSERT_EQ((*answer)->pieces.size(), 1U);
  EXPECT_TRUE(std::ranges::equal((*answer)->pieces[0].bytes(),
                                 ledger_.logs[kId].batches.at(Offset(5)).bytes));
  ASSERT_FALSE(*beyond);
  EXPECT_EQ(beyond->error().code(), ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(compare(*harness_, ledger_), "");
}

TEST_F(TruncationTest, ASegmentBeingOpenedToReadTakesRecordsAgain) {
  HarnessOptions options = small_ring();
  options.store.shard.tail_cache_bytes = 0;
  bool journalled = false;
  options.latency = [&](const sim::SimIoOperation& operation) {
    const bool journal =
        operation.operation == sim::DiskOperation::kWrite && operation.path.contains("/journal/");
    journalled |= journal;
    return microseconds(journal ? 1000 : 50);
  };
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  for (int i = 0; i < 10; ++i) {
    append(kId, 10, 1500);
    ASSERT_TRUE(harness_->wait_durable(kId));
  }
  ASSERT_TRUE(harness_->stop_cleanly());
  restart(options);  // sealed segments are not open now
  harness_->listen(kId);
  journalled = false;
  std::optional<Result<>> truncated;
  PartitionLog* log = harness_->find(kId);
  log->truncate(Offset(10), [&](Result<> result) { truncated = std::move(result); });
  ASSERT_TRUE(harness_->executor().run_until([&] { return journalled; }));
  harness_->executor().run_for(microseconds(999));
  ASSERT_EQ(log->log_end(), Offset(100)) << "the cut came too early for this test";
  std::optional<Result<ReadResult>> answer;
  log->read(Offset(1), {.up_to = Offset(2), .bytes_max = 1, .at_least_one = true},
            [&](Result<ReadResult> result) { answer = std::move(result); });
  ASSERT_TRUE(harness_->executor().run_until([&] { return truncated && answer; }));
  ASSERT_TRUE(*truncated) << truncated->error().to_string();
  ASSERT_TRUE(*answer) << answer->error().to_string();
  auto& expected = ledger_.logs[kId];
  EXPECT_TRUE(
      std::ranges::equal((*answer)->pieces[0].bytes(), expected.batches.at(Offset(1)).bytes));
  expected.batches.erase(expected.batches.lower_bound(Offset(10)), expected.batches.end());
  expected.acknowledged = Offset(10);
  append(kId, 20, 1500, LeaderEpoch(2));
  ASSERT_TRUE(harness_->wait_durable(kId));
  EXPECT_EQ(compare(*harness_, ledger_), "");
  ASSERT_TRUE(harness_->stop_cleanly());
}

}  // namespace
}  // namespace tidelog::log
