#include "client/consumer/fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "client/consumer/batch_reader.h"
#include "tests/sim/scripted_broker.h"
#include "wire/batch_builder.h"
#include "wire/compression.h"

namespace tidelog::client_core {
namespace {

using namespace std::chrono_literals;
using client::Position;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ConsumerWorld {
 public:
  static constexpr std::uint16_t kPort = 9700;

  explicit ConsumerWorld(std::uint64_t seed, FetcherOptions options = {})
      : executor(seed), network(executor, seed * 31 + 1), broker(executor, network, kPort) {
    options.pool.seeds = {{"sim", kPort}};
    fetcher = std::make_unique<Fetcher>(network, executor, pool, queue, options, seed * 17 + 3);
    queue.on_drained([this] {
      executor.post([this] {
        if (fetcher) fetcher->pump();
      });
    });
  }
  ~ConsumerWorld() {
    fetcher->shut_down();
    fetcher.reset();
    broker.stop();
    executor.run_for(1s);
  }

  Result<> assign(std::vector<client::Assignment> assignments) {
    std::optional<Result<>> done;
    fetcher->assign(std::move(assignments), [&](Result<> result) { done = std::move(result); });
    executor.run_until([&] { return done.has_value(); }, 120s);
    return done.value_or(fail(ErrorCode::kInternal, "assign never ended"));
  }
  Result<> seek(const std::string& topic, std::int32_t partition, Position position) {
    std::optional<Result<>> done;
    fetcher->seek(topic, partition, position, [&](Result<> result) { done = std::move(result); });
    executor.run_until([&] { return done.has_value(); }, 120s);
    return done.value_or(fail(ErrorCode::kInternal, "seek never ended"));
  }
  Result<ResolvedOffset> resolve(const std::string& topic, Position position) {
    std::optional<Result<ResolvedOffset>> done;
    fetcher->resolve(topic, 0, position,
                     [&](Result<ResolvedOffset> result) { done = std::move(result); });
    executor.run_until([&] { return done.has_value(); }, 120s);
    return done.value_or(fail(ErrorCode::kInternal, "resolve never ended"));
  }

  // Takes what is there, as poll() would: values to `values`, errors to `errors`.
  void take() {
    while (auto fetched = queue.pop(std::chrono::steady_clock::time_point::min())) {
      if (auto* error = std::get_if<client::PartitionError>(&fetched->content)) {
        errors.push_back(std::move(*error));
        continue;
      }
      const std::int64_t position = queue.position(*fetched->cursor);
      auto reader = BatchReader::open(std::get<SharedBytes>(fetched->content), pool, 1 << 26);
      ASSERT_TRUE(reader.has_value()) << reader.error().to_string();
      while (reader->has_next()) {
        const auto record = reader->next();
        ASSERT_TRUE(record.has_value());
        if (reader->offset() < position) continue;
        values.emplace_back(*(*record)->value);
        offsets.push_back(reader->offset());
      }
      queue.advance(*fetched, reader->next_offset());
      queue.finish(*fetched);
    }
  }
  // Until `count` values came, or virtual time ran out.
  bool take_until(std::size_t count, std::chrono::seconds limit = 60s) {
    return executor.run_until(
        [&] {
          take();
          return values.size() >= count;
        },
        limit);
  }
  bool take_error(std::chrono::seconds limit = 60s) {
    return executor.run_until(
        [&] {
          take();
          return !errors.empty();
        },
        limit);
  }

  sim::SimExecutor executor;
  sim::SimNetwork network;
  sim::ScriptedBroker broker;
  std::shared_ptr<BufferPool> pool = std::make_shared<BufferPool>(1024 * 1024);
  PrefetchQueue queue;
  std::unique_ptr<Fetcher> fetcher;
  std::vector<std::string> values;
  std::vector<std::int64_t> offsets;
  std::vector<client::PartitionError> errors;
};

std::vector<std::string> numbers(int from, int to) {
  std::vector<std::string> values;
  for (int i = from; i < to; ++i) values.push_back(std::to_string(i));
  return values;
}

TEST(FetcherTest, ReadsALogFromItsStartAndWhatComesThen) {
  ConsumerWorld world(1);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 10; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(100));
  world.broker.append("t", 0, numbers(100, 110));
  const auto appended_at = world.executor.clock().now();
  ASSERT_TRUE(world.take_until(110));
  EXPECT_LT(world.executor.clock().now() - appended_at, 5ms);  // a parked fetch brings it
  EXPECT_EQ(world.values, numbers(0, 110));
  EXPECT_EQ(world.queue.high_watermark(*world.fetcher->cursor("t", 0)), 110);
}

TEST(FetcherTest, SkipsToTheWantedOffsetInsideABatch) {
  ConsumerWorld world(2);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  world.broker.append("t", 0, numbers(10, 20));
  ASSERT_TRUE(world.assign({{"t", 0, Position::offset(7)}}).has_value());
  ASSERT_TRUE(world.take_until(13));
  EXPECT_EQ(world.values, numbers(7, 20));
  EXPECT_EQ(world.offsets.front(), 7);
}

TEST(FetcherTest, LosesAndRepeatsNothingUnderCutsAtAnyByte) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    ConsumerWorld world(seed, {.fetch_bytes_max = 600, .partition_fetch_bytes_max = 300});
    world.broker.create_topic("t", 3);
    ASSERT_TRUE(world
                    .assign({{"t", 0, Position::start()},
                             {"t", 1, Position::start()},
                             {"t", 2, Position::start()}})
                    .has_value());
    world.network.cut_one_in(15);
    std::vector<std::vector<std::string>> expected(3);
    for (int i = 0; i < 150; ++i) {
      const std::int32_t partition = i % 3;
      const auto values = numbers(i * 4, i * 4 + 4);
      world.broker.append("t", partition, values);
      auto& all = expected[static_cast<std::size_t>(partition)];
      all.insert(all.end(), values.begin(), values.end());
      if (i % 5 == 0) world.executor.run_for(1ms);
    }
    ASSERT_TRUE(world.take_until(600, 300s));
    EXPECT_EQ(world.values.size(), 600U);
    EXPECT_THAT(world.errors, IsEmpty());
    for (const auto& partition : expected) {
      auto at = world.values.begin();
      for (const std::string& value : partition) {
        at = std::find(at, world.values.end(), value);
        ASSERT_NE(at, world.values.end()) << value << " is missing or out of order";
      }
    }
  }
}

TEST(FetcherTest, NeverDeliversABatchWhoseChecksumIsWrong) {
  for (const std::size_t byte : {std::size_t{50}, std::size_t{90}, wire::kBatchHeaderBytes + 5}) {
    SCOPED_TRACE(byte);
    ConsumerWorld world(4);
    world.broker.create_topic("t", 1);
    for (int i = 0; i < 3; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
    world.broker.log("t", 0).corrupt(Offset(10), byte);
    ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
    ASSERT_TRUE(world.take_error());
    world.executor.run_for(5s);
    world.take();
    EXPECT_EQ(world.values, numbers(0, 10));  // neither the damaged batch nor what is behind it
    ASSERT_EQ(world.errors.size(), 1U);
    EXPECT_EQ(world.errors[0].position, 10);
    EXPECT_THAT(world.errors[0].error.message, HasSubstr("topic 't' partition 0"));
    ASSERT_TRUE(world.seek("t", 0, Position::offset(20)).has_value());
    ASSERT_TRUE(world.take_until(20));
    EXPECT_EQ(world.values.back(), "29");
  }
}

TEST(FetcherTest, FetchesNoMoreThanItsBoundUntilSomeIsPolled) {
  constexpr std::size_t kBound = 200'000;
  ConsumerWorld world(5, {.prefetch_bytes_max = kBound, .fetch_bytes_max = 64 * 1024});
  world.broker.create_topic("t", 2);
  const std::vector<std::string> values(10, std::string(1000, 'x'));
  for (int i = 0; i < 100; ++i) {
    world.broker.append("t", 0, values);
    world.broker.append("t", 1, values);
  }
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
  world.executor.run_for(10s);
  EXPECT_GT(world.queue.bytes(), kBound / 2);
  EXPECT_LE(world.queue.bytes(), kBound + 2 * 11'000);  // one batch per open fetch more
  EXPECT_LE(world.broker.fetch_bytes_answered, kBound + 2 * 11'000);
  ASSERT_TRUE(world.take_until(2000));
  EXPECT_EQ(world.values.size(), 2000U);
}

TEST(FetcherTest, DropsWhatWasFetchedWhenSought) {
  ConsumerWorld world(6);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 50; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  EXPECT_GT(world.queue.bytes(), 0U);
  ASSERT_TRUE(world.seek("t", 0, Position::offset(495)).has_value());
  ASSERT_TRUE(world.take_until(5));
  EXPECT_EQ(world.values, numbers(495, 500));
  ASSERT_TRUE(world.seek("t", 0, Position::start(3)).has_value());
  ASSERT_TRUE(world.take_until(5 + 497));
  EXPECT_EQ(world.values[5], "3");
  EXPECT_EQ(world.queue.position(*world.fetcher->cursor("t", 0)), 500);
}

TEST(FetcherTest, SeeksAtAnyMomentWithoutMixingPositions) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    ConsumerWorld world(seed, {.fetch_bytes_max = 1000, .partition_fetch_bytes_max = 500});
    world.broker.create_topic("t", 1);
    for (int i = 0; i < 50; ++i) world.broker.append("t", 0, numbers(i * 10, i * 10 + 10));
    ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
    sim::SimRandom random(seed);
    for (int n = 0; n < 10; ++n) {
      world.executor.run_for(std::chrono::microseconds(random.below(2000)));
      world.take();
      const auto target = static_cast<int>(random.below(500));
      ASSERT_TRUE(world.seek("t", 0, Position::offset(target)).has_value());
      world.values.clear();
      ASSERT_TRUE(world.take_until(1));
      const auto got = static_cast<int>(world.values.size());
      EXPECT_EQ(world.values, numbers(target, target + got));
    }
    EXPECT_THAT(world.errors, IsEmpty());
  }
}

TEST(FetcherTest, FindsPositionsByTimeInsideTheBatch) {
  ConsumerWorld world(7);
  world.broker.create_topic("t", 1);
  for (const wire::Codec codec : {wire::Codec::kNone, wire::Codec::kZstd}) {
    const std::int64_t base = codec == wire::Codec::kNone ? 1000 : 2000;
    world.broker.append("t", 0, numbers(0, 4), {base, base + 10, base + 20, base + 30}, codec);
  }
  const auto at = [&](std::int64_t time) { return world.resolve("t", Position::time(time)); };
  EXPECT_EQ(at(0)->offset, 0);
  EXPECT_EQ(at(1010)->offset, 1);
  EXPECT_EQ(at(1011)->offset, 2);
  EXPECT_EQ(at(1031)->offset, 4);
  EXPECT_EQ(at(2025)->offset, 7);
  EXPECT_EQ(at(2031)->offset, std::nullopt);
  EXPECT_EQ(at(2031)->end, 8);
}

TEST(FetcherTest, FindsPositionsByDistance) {
  ConsumerWorld world(8);
  world.broker.create_topic("t", 1);
  for (int i = 0; i < 10; ++i) world.broker.append("t", 0, numbers(0, 10));
  world.broker.log("t", 0).trim(Offset(20));
  EXPECT_EQ(world.resolve("t", Position::start())->offset, 20);
  EXPECT_EQ(world.resolve("t", Position::start(5))->offset, 25);
  EXPECT_EQ(world.resolve("t", Position::end())->offset, 100);
  EXPECT_EQ(world.resolve("t", Position::end(30))->offset, 70);
  EXPECT_EQ(world.resolve("t", Position::end(500))->offset, 20);  // never below the start
}

TEST(FetcherTest, ReportsAnOffsetOutOfRangeAndWaitsForASeek) {
  ConsumerWorld world(9);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  world.broker.append("t", 0, numbers(10, 20));
  world.broker.log("t", 0).trim(Offset(10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::offset(3)}}).has_value());
  ASSERT_TRUE(world.take_error());
  EXPECT_EQ(world.errors[0].error.name, "OFFSET_OUT_OF_RANGE");
  EXPECT_EQ(world.errors[0].position, 3);
  world.executor.run_for(5s);
  world.take();
  EXPECT_THAT(world.values, IsEmpty());
  EXPECT_EQ(world.errors.size(), 1U);
  ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
  ASSERT_TRUE(world.take_until(10));
  EXPECT_EQ(world.values, numbers(10, 20));
}

TEST(FetcherTest, SaysWhereReadingCanGoOn) {
  struct Case {
    sim::ScriptedBroker::FetchVerdict verdict;
    std::string name;
    std::int64_t resume;
  };
  for (const Case& one :
       {Case{{.code = ErrorCode::kDiverged, .diverging_offset = 4}, "DIVERGED", 4},
        Case{{.code = ErrorCode::kLostData, .sound_offset = 30}, "LOST_DATA", 30},
        Case{{.code = ErrorCode::kCorruptData, .sound_offset = 31}, "CORRUPT_DATA", 31}}) {
    SCOPED_TRACE(one.name);
    ConsumerWorld world(10);
    world.broker.create_topic("t", 2);
    world.broker.append("t", 1, numbers(0, 10));
    world.broker.on_fetch = [&](const std::string&, std::int32_t partition) {
      return partition == 0 ? one.verdict : sim::ScriptedBroker::FetchVerdict{};
    };
    ASSERT_TRUE(
        world.assign({{"t", 0, Position::start()}, {"t", 1, Position::start()}}).has_value());
    ASSERT_TRUE(world.take_error());
    EXPECT_EQ(world.errors[0].error.name, one.name);
    EXPECT_EQ(world.errors[0].resume_offset, one.resume);
    ASSERT_TRUE(world.take_until(10));  // the other partition is not concerned
    EXPECT_EQ(world.errors.size(), 1U);
  }
}

TEST(FetcherTest, TriesAgainWhatTheBrokerCannotDoNow) {
  ConsumerWorld world(11);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  int refusals = 5;
  world.broker.on_fetch = [&](const std::string&,
                              std::int32_t) -> sim::ScriptedBroker::FetchVerdict {
    if (refusals-- <= 0) return {};
    return {.code = refusals % 2 == 0 ? ErrorCode::kNotLeader : ErrorCode::kNotReady};
  };
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  EXPECT_EQ(world.values, numbers(0, 10));
  EXPECT_THAT(world.errors, IsEmpty());
}

TEST(FetcherTest, GoesOnAfterARestartOfTheBroker) {
  ConsumerWorld world(12);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  world.broker.stop();
  world.executor.run_for(60s);
  world.broker.start();
  world.broker.append("t", 0, numbers(10, 20));
  ASSERT_TRUE(world.take_until(20));
  EXPECT_EQ(world.values, numbers(0, 20));
  EXPECT_THAT(world.errors, IsEmpty());
}

TEST(FetcherTest, NoticesThatATopicWasMadeAgain) {
  ConsumerWorld world(13);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  ASSERT_TRUE(world.take_until(10));
  world.broker.delete_topic("t");
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, {"new"});
  ASSERT_TRUE(world.take_error());
  EXPECT_EQ(world.errors[0].error.name, "UNKNOWN_TOPIC");
  EXPECT_EQ(world.values.size(), 10U);
  ASSERT_TRUE(world.seek("t", 0, Position::start()).has_value());
  ASSERT_TRUE(world.take_until(11));
  EXPECT_EQ(world.values.back(), "new");
}

TEST(FetcherTest, RefusesToAssignWhatDoesNotExistAndKeepsWhatItHad) {
  ConsumerWorld world(14);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  const Result<> missing = world.assign({{"nowhere", 0, Position::start()}});
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), ErrorCode::kUnknownTopic);
  const Result<> beyond = world.assign({{"t", 1, Position::start()}});
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().code(), ErrorCode::kUnknownPartition);
  world.broker.append("t", 0, {"still read"});
  ASSERT_TRUE(world.take_until(1));
}

TEST(FetcherTest, SaysSoonThatNoBrokerCanBeReached) {
  ConsumerWorld world(15);
  world.broker.stop();
  const auto start = world.executor.clock().now();
  const Result<> assigned = world.assign({{"t", 0, Position::start()}});
  ASSERT_FALSE(assigned.has_value());
  EXPECT_EQ(assigned.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(assigned.error().message(), HasSubstr("refused"));
  EXPECT_LT(world.executor.clock().now() - start, 5s);
}

TEST(FetcherTest, ReadsSeveralPartitionsWithTwoConnections) {
  ConsumerWorld world(16);
  world.broker.create_topic("t", 20);
  std::vector<client::Assignment> assignments;
  for (std::int32_t i = 0; i < 20; ++i) {
    world.broker.append("t", i, {std::to_string(i)});
    assignments.push_back({"t", i, Position::start()});
  }
  ASSERT_TRUE(world.assign(assignments).has_value());
  ASSERT_TRUE(world.take_until(20));
  EXPECT_EQ(world.network.connects(), 2U);
}

TEST(FetcherTest, LeavesAPartitionThatWasGivenUpWhileItsSessionWasOpened) {
  ConsumerWorld world(17);
  world.broker.create_topic("left", 1);
  world.broker.create_topic("kept", 1);
  ASSERT_TRUE(world.resolve("left", Position::offset(0)).has_value());  // metadata is known now
  ASSERT_TRUE(world.resolve("kept", Position::offset(0)).has_value());
  ASSERT_TRUE(world.assign({{"left", 0, Position::offset(0)}}).has_value());
  ASSERT_TRUE(world.executor.run_until([&] { return world.broker.counts.fetches == 1; }));
  ASSERT_TRUE(world.assign({{"kept", 0, Position::offset(0)}}).has_value());
  ASSERT_EQ(world.broker.counts.fetches, 1);  // its answer is on its way
  world.executor.run_for(1s);
  world.broker.append("left", 0, numbers(0, 10));
  world.executor.run_for(1s);
  EXPECT_EQ(world.broker.fetch_bytes_answered, 0U);
  world.broker.append("kept", 0, {"read"});
  ASSERT_TRUE(world.take_until(1));
  EXPECT_THAT(world.values, ElementsAre("read"));
}

TEST(FetcherTest, StaysWithinItsBoundWithBatchesThatAreSmallerThanTheirBuffers) {
  constexpr std::size_t kBound = 200'000;
  ConsumerWorld world(18, {.prefetch_bytes_max = kBound});
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  for (int i = 0; i < 1000; ++i) {
    world.broker.append("t", 0, {std::to_string(i)});
    world.executor.run_for(2ms);  // an answer each
  }
  EXPECT_GT(world.pool->outstanding_bytes(), kBound / 2);
  EXPECT_LE(world.pool->outstanding_bytes(), kBound + 4 * 64 * 1024);  // reading, and answers
  ASSERT_TRUE(world.take_until(1000));
  EXPECT_EQ(world.values, numbers(0, 1000));
}

TEST(FetcherTest, DoesNotStopAPartitionThatWasSoughtMeanwhile) {
  ConsumerWorld world(19);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, numbers(0, 10));
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  const auto useless = world.queue.pop(std::chrono::steady_clock::time_point::min());
  ASSERT_TRUE(useless.has_value());
  ASSERT_TRUE(world.seek("t", 0, Position::offset(5)).has_value());
  EXPECT_FALSE(world.fetcher->stop(*useless, 0));
  world.queue.finish(*useless);
  ASSERT_TRUE(world.take_until(5));
  EXPECT_EQ(world.values, numbers(5, 10));
  world.broker.append("t", 0, numbers(10, 20));
  world.executor.run_for(1s);
  const auto current = world.queue.pop(std::chrono::steady_clock::time_point::min());
  ASSERT_TRUE(current.has_value());
  EXPECT_TRUE(world.fetcher->stop(*current, 12));
  world.queue.finish(*current);
  world.broker.append("t", 0, numbers(20, 30));
  world.executor.run_for(1s);
  world.take();
  EXPECT_EQ(world.values.size(), 5U);
  EXPECT_EQ(world.queue.position(*world.fetcher->cursor("t", 0)), 12);
}

TEST(FetcherTest, AsksAgainBeforeItSaysThatAPartitionIsMissing) {
  ConsumerWorld world(20);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.executor.run_for(1s);
  ASSERT_TRUE(world.assign({}).has_value());
  world.broker.create_topic("t", 3);
  const Result<> assigned = world.assign({{"t", 2, Position::start()}});
  EXPECT_TRUE(assigned.has_value()) << assigned.error().to_string();
  const Result<> beyond = world.assign({{"t", 3, Position::start()}});
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().code(), ErrorCode::kUnknownPartition);
}

TEST(FetcherTest, FindsATopicAgainOnceItWasMadeAgain) {
  ConsumerWorld world(21);
  world.broker.create_topic("t", 1);
  ASSERT_TRUE(world.assign({{"t", 0, Position::start()}}).has_value());
  world.broker.delete_topic("t");
  ASSERT_TRUE(world.take_error());
  world.executor.run_for(5s);
  world.broker.create_topic("t", 1);
  world.broker.append("t", 0, {"new"});
  const Result<> sought = world.seek("t", 0, Position::start());
  ASSERT_TRUE(sought.has_value()) << sought.error().to_string();
  ASSERT_TRUE(world.take_until(1));
}

// A batch whose header says what it says, of records with these offset deltas.
SharedBytes batch_of(wire::BatchHeader header, const std::vector<std::int32_t>& deltas) {
  std::vector<std::byte> records;
  for (const std::int32_t delta : deltas) {
    wire::RecordView record;
    record.offset_delta = delta;
    wire::append_record(record, records);
  }
  if (header.codec() != wire::Codec::kNone) {
    const std::vector<std::byte> plain = std::exchange(records, {});
    EXPECT_TRUE(wire::compress(header.codec(), plain, records).has_value());
  }
  header.records_bytes = static_cast<std::uint32_t>(records.size());
  std::vector<std::byte> bytes(wire::kBatchHeaderBytes);
  wire::encode_batch_header(header, 1, bytes.data());
  bytes.insert(bytes.end(), records.begin(), records.end());
  return SharedBytes::copy_of(bytes);
}

TEST(BatchReaderTest, RefusesARecordWhoseOffsetIsBeyondItsBatch) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchHeader header;
  header.record_count = 2;
  header.last_offset_delta = 1;
  auto sound = BatchReader::open(batch_of(header, {0, 1}), pool, 1024);
  ASSERT_TRUE(sound.has_value());
  EXPECT_TRUE(sound->next().has_value());
  EXPECT_TRUE(sound->next().has_value());
  auto wrong = BatchReader::open(batch_of(header, {0, 2}), pool, 1024);
  ASSERT_TRUE(wrong.has_value());
  EXPECT_TRUE(wrong->next().has_value());
  const auto second = wrong->next();
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), ErrorCode::kInvalidBatch);
}

TEST(BatchReaderTest, RefusesMoreRecordsThanItsDecompressedBytesCanHold) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchHeader header;  // says nothing of the uncompressed length
  header.attributes = static_cast<std::uint16_t>(wire::Codec::kZstd);
  header.record_count = 1'000'000;
  header.last_offset_delta = 999'999;
  const auto reader = BatchReader::open(batch_of(header, {0, 1}), pool, 1024);
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().code(), ErrorCode::kInvalidBatch);
  EXPECT_THAT(reader.error().message(), HasSubstr("1000000 records"));
}

TEST(BatchReaderTest, StopsADecompressionBombAtItsBound) {
  auto pool = std::make_shared<BufferPool>(0);
  wire::BatchBuilder builder;
  const std::string zeros(3 * 1024 * 1024, '\0');
  wire::RecordView record;
  record.value = zeros;
  builder.add(0, record);
  const auto batch = builder.finish(wire::Codec::kZstd, 1, {}, *pool);
  ASSERT_TRUE(batch.has_value());
  ASSERT_LT(batch->size(), 10'000U);
  const auto reader = BatchReader::open(*batch, pool, 1024 * 1024);
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE(BatchReader::open(*batch, pool, 4 * 1024 * 1024).has_value());
}

}  // namespace
}  // namespace tidelog::client_core
