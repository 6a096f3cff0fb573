#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "client/producer/partitioner.h"
#include "tests/client/sender_fixture.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SenderTest, DeliversRecordsInOrderWithTheirOffsets) {
  ProducerWorld world(1);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 1000; ++i) world.produce("t", std::to_string(i));
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(world.outcomes[static_cast<std::size_t>(i)].ok);
    EXPECT_EQ(world.outcomes[static_cast<std::size_t>(i)].offset, i);
  }
  EXPECT_EQ(world.accumulator.statistics().records_acknowledged, 1000U);
  EXPECT_EQ(world.accumulator.statistics().buffered_bytes, 0U);
}

TEST(SenderTest, CollectsRecordsUntilTheLingerPassed) {
  ProducerWorld world(2, {.linger = 50ms});
  world.broker.create_topic("t", 1);
  world.produce("t", "first");
  ASSERT_TRUE(world.settle());  // a flush does not linger
  const auto start = world.executor.clock().now();
  for (int i = 0; i < 10; ++i) {
    world.produce("t", std::to_string(i));
    world.executor.run_for(1ms);
  }
  ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 11; }));
  EXPECT_EQ(world.broker.log("t", 0).batch_count(), 2U);
  EXPECT_GE(world.executor.clock().now() - start, 50ms);
  EXPECT_LT(world.executor.clock().now() - start, 60ms);
}

TEST(SenderTest, DoesNotLingerWhileTheBufferIsFull) {
  ProducerWorld world(18, {.linger = 10s},
                      {.batch_bytes_max = 256 * 1024, .buffer_bytes_max = 128 * 1024});
  world.broker.create_topic("t", 3);
  world.produce("t", "warm");
  ASSERT_TRUE(world.settle());
  const auto start = world.executor.clock().now();
  for (int i = 0; i < 1000; ++i) {
    const std::string value = std::to_string(i) + std::string(1000, 'x');
    while (!world.produce("t", value, i % 3)) {
      const std::size_t settled = world.outcomes.size();
      ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() > settled; }, 1s));
    }
  }
  EXPECT_GT(world.refused_by_full_buffer, 5U);
  EXPECT_LT(world.executor.clock().now() - start, 1s);
  const std::size_t batches = world.accumulator.statistics().batches;
  EXPECT_LT(batches, 200U);  // and not one for each record
  ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 1001; }, 11s));
  EXPECT_EQ(world.values_with("").size(), 1001U);
}

TEST(SenderTest, LingersNoLongerThanHalfOfTheDeliveryTimeout) {
  ProducerWorld world(19, {.linger = 1h, .delivery_timeout = 4s});
  world.broker.create_topic("t", 1);
  world.produce("t", "a");
  world.executor.run_for(1900ms);
  EXPECT_TRUE(world.outcomes.empty());
  world.executor.run_for(200ms);
  ASSERT_EQ(world.outcomes.size(), 1U);
  EXPECT_TRUE(world.outcomes[0].ok) << world.outcomes[0].error;
}

TEST(SenderTest, SendsAtOnceWithoutLingerAndFillsTheNextBatchMeanwhile) {
  ProducerWorld world(3, {.linger = 0ms});
  world.broker.create_topic("t", 1);
  world.network.set_delay(1ms, 1ms);
  world.produce("t", "warm");
  ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 1; }));
  world.produce("t", "a");
  world.executor.run_for(100us);
  world.produce("t", "b");
  world.executor.run_for(100us);
  world.produce("t", "c");
  ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 4; }));
  EXPECT_EQ(world.broker.log("t", 0).batch_count(), 3U);  // warm, a, b with c
}

TEST(SenderTest, KeepsBatchesWithinTheirLimit) {
  ProducerWorld world(4, {.linger = 50ms}, {.batch_bytes_max = 4096});
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 100; ++i) world.produce("t", std::string(500, 'x') + std::to_string(i));
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  EXPECT_GE(world.broker.log("t", 0).batch_count(), 100U * 500 / 4096);
}

TEST(SenderTest, FailsARecordThatIsTooLargeByItself) {
  ProducerWorld world(5);
  world.broker.settings.topic_batch_bytes_max = 10'000;
  world.broker.create_topic("t", 1);
  world.produce("t", "before");
  world.produce("t", std::string(20'000, 'x'));
  ASSERT_TRUE(world.settle());
  world.produce("t", "after");
  world.produce("t", std::string(20'001, 'x'));
  ASSERT_TRUE(world.settle());
  EXPECT_THAT(world.broker.log("t", 0).values(), ElementsAre("before", "after"));
  for (const std::size_t size : {20'000U, 20'001U}) {
    const auto* outcome = world.outcome(std::string(size, 'x'));
    ASSERT_NE(outcome, nullptr);
    EXPECT_EQ(outcome->error, "BATCH_TOO_LARGE");
    EXPECT_THAT(outcome->message, HasSubstr("'t'"));
    EXPECT_THAT(outcome->message, HasSubstr("10000"));
  }
}

TEST(SenderTest, PutsAKeyWhereItsHashSays) {
  ProducerWorld world(6);
  world.broker.create_topic("t", 7);
  for (int i = 0; i < 50; ++i) {
    world.produce("t", std::to_string(i), std::nullopt, "key-" + std::to_string(i));
  }
  ASSERT_TRUE(world.settle());
  for (int i = 0; i < 50; ++i) {
    const auto* outcome = world.outcome(std::to_string(i));
    EXPECT_EQ(outcome->partition, partition_of_key("key-" + std::to_string(i), 7));
  }
}

TEST(SenderTest, StaysWithOnePartitionPerBatchForRecordsWithoutKey) {
  ProducerWorld world(7, {}, {.batch_bytes_max = 2000});
  world.broker.create_topic("t", 4);
  for (int i = 0; i < 1000; ++i)
    world.produce("t", std::to_string(i) + std::string(50, 'x'), std::nullopt);
  ASSERT_TRUE(world.settle());
  std::size_t batches = 0;
  std::size_t records = 0;
  for (std::int32_t partition = 0; partition < 4; ++partition) {
    batches += world.broker.log("t", partition).batch_count();
    records += world.broker.log("t", partition).values().size();
    EXPECT_GT(world.broker.log("t", partition).values().size(), 100U);
  }
  EXPECT_EQ(records, 1000U);
  EXPECT_LT(batches, 1000U / 20);
}

TEST(SenderTest, FailsRecordsOfATopicThatDoesNotExist) {
  ProducerWorld world(8);
  world.produce("missing", "a");
  ASSERT_TRUE(world.settle(5s));
  ASSERT_EQ(world.outcomes.size(), 1U);
  EXPECT_EQ(world.outcomes[0].error, "UNKNOWN_TOPIC");
  EXPECT_THAT(world.outcomes[0].message, HasSubstr("missing"));
  world.broker.create_topic("missing", 1);  // asked again for the next record
  world.produce("missing", "b");
  ASSERT_TRUE(world.settle(5s));
  EXPECT_THAT(world.broker.log("missing", 0).values(), ElementsAre("b"));
}

TEST(SenderTest, FailsARecordForAPartitionThatDoesNotExist) {
  ProducerWorld world(9);
  world.broker.create_topic("t", 2);
  world.produce("t", "waits for metadata", 2);
  ASSERT_TRUE(world.settle(5s));
  world.produce("t", "knows it", -1);
  for (const auto& outcome : world.outcomes) EXPECT_EQ(outcome.error, "UNKNOWN_PARTITION");
  EXPECT_EQ(world.outcomes.size(), 2U);
}

TEST(SenderTest, TellsTheTimestampThatARecordHasInTheLog) {
  ProducerWorld world(13);
  world.broker.create_topic("t", 1);
  world.produce("t", "its own", 0, {}, 1000);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("its own")->timestamp_ms, 1000);
  world.broker.settings.append_time_us = 1'700'000'000'999'123;
  world.produce("t", "the broker's", 0, {}, 1000);
  world.produce("t", "the same", 0, {}, 2000);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("the broker's")->timestamp_ms, 1'700'000'000'999);
  EXPECT_EQ(world.outcome("the same")->timestamp_ms, 1'700'000'000'999);
  world.broker.settings.append_time_us = kAppendTimeForgotten;
  world.produce("t", "forgotten", 0, {}, 1000);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.outcome("forgotten")->timestamp_ms, -1);
}

TEST(SenderTest, RefusesRecordsWhileItsBufferIsFull) {
  ProducerWorld world(12, {.linger = 0ms}, {.batch_bytes_max = 4096, .buffer_bytes_max = 20'000});
  world.broker.create_topic("t", 1);
  world.broker.stop();
  int accepted = 0;
  while (world.produce("t", std::string(900, 'x') + std::to_string(accepted))) ++accepted;
  EXPECT_GT(accepted, 10);
  EXPECT_LT(accepted, 22);
  EXPECT_LE(world.accumulator.statistics().buffered_bytes, 20'000U);
  world.broker.start();
  ASSERT_TRUE(world.settle());
  EXPECT_TRUE(world.produce("t", std::string(900, 'x') + std::to_string(accepted)));
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
}

TEST(SenderTest, LetsCallbacksProduce) {
  ProducerWorld world(13, {.linger = 0ms});
  world.broker.create_topic("t", 1);
  int left = 20;
  std::function<void()> next = [&] {
    client::Record record;
    record.topic = "t";
    record.value = std::to_string(left);
    RecordCallback callback = [&](const client::Result<client::Delivery>& delivery) {
      ASSERT_TRUE(delivery.ok());
      if (--left > 0) next();
    };
    ASSERT_TRUE(*world.accumulator.add(record, callback));
  };
  next();
  ASSERT_TRUE(world.executor.run_until([&] { return left == 0; }));
  EXPECT_EQ(world.broker.log("t", 0).values().size(), 20U);
}

TEST(SenderTest, CompressesWithEveryCodec) {
  for (const wire::Codec codec : wire::supported_codecs()) {
    ProducerWorld world(14, {.compression = codec});
    world.broker.create_topic("t", 1);
    for (int i = 0; i < 500; ++i) world.produce("t", std::string(100, 'a') + std::to_string(i));
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
  }
}

TEST(SenderTest, SettlesWithoutAnswersWhenNoneAreAskedFor) {
  ProducerWorld world(15, {.acks = AcksOnWire::kNone});
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 100; ++i) world.produce("t", std::to_string(i));
  ASSERT_TRUE(world.settle());
  for (const auto& outcome : world.outcomes) {
    EXPECT_TRUE(outcome.ok);
    EXPECT_EQ(outcome.offset, -1);
  }
  world.executor.run_for(1s);
  EXPECT_EQ(world.broker.log("t", 0).values(), world.produced);
}

TEST(SenderTest, SpreadsManyPartitionsOverFewRequests) {
  ProducerWorld world(16, {.linger = 5ms});
  world.broker.create_topic("t", 100);
  world.produce("t", "warm", 0);
  ASSERT_TRUE(world.settle());
  const int before = world.broker.counts.produces;
  for (std::int32_t i = 0; i < 100; ++i) world.produce("t", std::to_string(i), i);
  ASSERT_TRUE(world.executor.run_until([&] { return world.outcomes.size() == 101; }));
  EXPECT_LE(world.broker.counts.produces - before, 3);
}

TEST(SenderTest, UsesOneConnectionToABroker) {
  ProducerWorld world(17);
  world.broker.create_topic("t", 3);
  for (int i = 0; i < 30; ++i) world.produce("t", std::to_string(i), i % 3);
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.network.connects(), 1U);
}

TEST(SenderTest, AsksItsOwnPartitionerWhereNothingElseWasSaid) {
  client::Partitioner by_length = [](const client::Record& record,
                                     std::int32_t partitions) -> std::optional<std::int32_t> {
    EXPECT_EQ(partitions, 4);
    if (!record.key) return std::nullopt;
    return static_cast<std::int32_t>(record.key->size());
  };
  ProducerWorld world(19, {}, {.partitioner = by_length});
  world.broker.create_topic("t", 4);
  for (int round = 0; round < 2; ++round) {  // the topic is not known yet, then it is
    const std::string suffix = std::to_string(round);
    world.produce("t", "by the partitioner" + suffix, std::nullopt, "aa");
    world.produce("t", "by the record" + suffix, 1, "aa");
    world.produce("t", "by the library" + suffix, std::nullopt);
    world.produce("t", "beyond" + suffix, std::nullopt, "aaaa");
    ASSERT_TRUE(world.settle());
    EXPECT_EQ(world.outcome("by the partitioner" + suffix)->partition, 2);
    EXPECT_EQ(world.outcome("by the record" + suffix)->partition, 1);
    EXPECT_TRUE(world.outcome("by the library" + suffix)->ok);
    EXPECT_EQ(world.outcome("beyond" + suffix)->error, "UNKNOWN_PARTITION");
    EXPECT_THAT(world.outcome("beyond" + suffix)->message, HasSubstr("no partition 4"));
  }
}

}  // namespace
}  // namespace tidelog::client_core
