#include "client/producer/accumulator.h"

#include <gtest/gtest.h>

#include <latch>
#include <thread>

namespace tidelog::client_core {
namespace {

client::Record record_of(const std::string& topic, std::size_t bytes,
                         std::optional<std::int32_t> partition = 0) {
  client::Record record;
  record.topic = topic;
  record.value = std::string(bytes, 'x');
  record.partition = partition;
  return record;
}

class AccumulatorTest : public testing::Test {
 protected:
  void make(AccumulatorOptions options) {
    accumulator = std::make_unique<Accumulator>(system_clock(), options);
    accumulator->on_work([this] { wakes.fetch_add(1); });
  }
  void know(const std::string& topic, std::int32_t partitions) {
    std::vector<FailedRecord> failed;
    accumulator->set_topic(topic, {.partitions = partitions, .with_leader = {}}, failed);
    EXPECT_TRUE(failed.empty());
  }
  bool add(client::Record record) {
    RecordCallback callback;
    const Result<bool> added = accumulator->add(record, callback);
    EXPECT_TRUE(added.has_value());
    return added.value_or(false);
  }

  std::unique_ptr<Accumulator> accumulator;
  std::atomic<int> wakes{0};
};

TEST_F(AccumulatorTest, WakesTheSenderOncePerTurn) {
  make({});
  know("t", 1);
  for (int i = 0; i < 100; ++i) add(record_of("t", 10));
  EXPECT_EQ(wakes.load(), 1);
  accumulator->begin_collecting();
  std::vector<PartitionQueue*> touched;
  accumulator->take_touched(touched);
  ASSERT_EQ(touched.size(), 1U);
  add(record_of("t", 10));  // joins the batch that the sender knows of
  EXPECT_EQ(wakes.load(), 1);
}

TEST_F(AccumulatorTest, ChargesWhatItHoldsAndReleasesIt) {
  make({.buffer_bytes_max = 10'000});
  know("t", 1);
  int accepted = 0;
  while (add(record_of("t", 500))) ++accepted;
  EXPECT_GT(accepted, 10);
  EXPECT_LE(accepted, 20);
  std::vector<PartitionQueue*> touched;
  accumulator->take_touched(touched);
  auto batch = accumulator->take_batch(*touched.at(0));
  accumulator->release_bytes(batch->charged_bytes);
  EXPECT_EQ(accumulator->statistics().buffered_bytes, 0U);
  EXPECT_TRUE(add(record_of("t", 500)));
}

TEST_F(AccumulatorTest, LetsAThreadWaitForRoom) {
  make({.buffer_bytes_max = 2'000});
  know("t", 1);
  while (add(record_of("t", 500))) {
  }
  std::latch waiting(1);
  bool accepted = false;
  std::thread user([&] {
    waiting.count_down();
    accumulator->wait_for_room(record_of("t", 500));
    accepted = add(record_of("t", 500));
  });
  waiting.wait();
  std::vector<PartitionQueue*> touched;
  accumulator->take_touched(touched);
  accumulator->release_bytes(accumulator->take_batch(*touched.at(0))->charged_bytes);
  user.join();
  EXPECT_TRUE(accepted);
}

TEST_F(AccumulatorTest, WakesWhoWaitsForRoomWhenClosed) {
  make({.buffer_bytes_max = 2'000});
  know("t", 1);
  while (add(record_of("t", 500))) {
  }
  std::thread user([&] { accumulator->wait_for_room(record_of("t", 500)); });
  accumulator->close();
  user.join();
  client::Record record = record_of("t", 1);
  RecordCallback callback;
  const Result<bool> added = accumulator->add(record, callback);
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code(), ErrorCode::kCancelled);
}

TEST_F(AccumulatorTest, RefusesARecordLargerThanTheWholeBuffer) {
  make({.buffer_bytes_max = 2'000});
  client::Record record = record_of("t", 3'000);
  RecordCallback callback;
  const Result<bool> added = accumulator->add(record, callback);
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code(), ErrorCode::kBatchTooLarge);
}

TEST_F(AccumulatorTest, FlushesWhatWasAcceptedBeforeAndNoMore) {
  make({});
  know("t", 2);
  add(record_of("t", 10, 0));
  const std::uint64_t epoch = accumulator->begin_flush();
  add(record_of("t", 10, 1));
  EXPECT_FALSE(accumulator->flushed(epoch));
  const auto partitions = accumulator->partitions("t");
  auto batch = accumulator->take_batch(*partitions[0]);
  accumulator->settled(batch->flush_epoch, batch->records.size());
  EXPECT_TRUE(accumulator->flushed(epoch));
  EXPECT_FALSE(accumulator->flushed(accumulator->begin_flush()));
}

TEST_F(AccumulatorTest, KeepsEachThreadsOrder) {
  make({.batch_bytes_max = 4096});
  know("t", 1);
  constexpr int kThreads = 4;
  constexpr int kRecords = 2000;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kRecords; ++i) {
        client::Record record = record_of("t", 20);
        record.timestamp_ms = thread * kRecords + i;
        RecordCallback callback;
        (void)accumulator->add(record, callback);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<std::int64_t> last(kThreads, -1);
  std::size_t count = 0;
  PartitionQueue& partition = *accumulator->partitions("t").at(0);
  while (auto batch = accumulator->take_batch(partition)) {
    for (const RecordSlot& slot : batch->records) {
      auto& before = last[static_cast<std::size_t>(slot.timestamp_ms / kRecords)];
      EXPECT_LT(before, slot.timestamp_ms);
      before = slot.timestamp_ms;
      ++count;
    }
  }
  EXPECT_EQ(count, static_cast<std::size_t>(kThreads * kRecords));
}

}  // namespace
}  // namespace tidelog::client_core
