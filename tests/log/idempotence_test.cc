// Idempotent producers against the real log: restarts, rolls, truncations, trims.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "log/inspect.h"
#include "log/segment_format.h"
#include "tests/log/log_harness.h"
#include "tests/log/produced_batches.h"

namespace tidelog::log {
namespace {

using std::chrono::milliseconds;

const TopicPartition kFirst = partition_of(1, 0);

HarnessOptions options(std::uint64_t seed) {
  HarnessOptions options;
  options.seed = seed;
  options.store.shard.checkpoint_interval = std::chrono::seconds(1);
  return options;
}

class IdempotentLogTest : public testing::Test {
 protected:
  void start() {
    harness_ = std::make_unique<LogHarness>(disk_, ledger_, options(1));
    const auto opened = harness_->open();
    ASSERT_TRUE(opened) << opened.error().to_string();
  }
  // Ends the process once no write is under way.
  void kill() {
    if (harness_) harness_->pass(milliseconds(20));
    harness_.reset();
  }
  void restart() {
    kill();
    start();
  }
  // "ok <offset>", "dup <offset>" or the error's name.
  std::string send(std::int64_t producer, std::int16_t epoch, std::int32_t sequence,
                   int records = 1, std::size_t bytes = 10) {
    const auto batch = produced_batch(kFirst, {ProducerId(producer), epoch, sequence}, records,
                                      std::string(bytes, 'x'));
    const auto appended = harness_->find(kFirst)->append(batch, LeaderEpoch(1));
    if (!appended) return std::string(appended.error().info().name);
    return fmt::format("{} {}", appended->duplicate ? "dup" : "ok", appended->base_offset.value());
  }

  sim::SimDisk disk_;
  Ledger ledger_;
  std::unique_ptr<LogHarness> harness_;
};

TEST_F(IdempotentLogTest, RemembersProducersOverAKillAndACleanStop) {
  start();
  ASSERT_TRUE(harness_->create(kFirst));
  EXPECT_EQ(send(5, 0, 0, 2), "ok 0");
  EXPECT_EQ(send(5, 0, 2), "ok 2");
  ASSERT_TRUE(harness_->wait_durable(kFirst));
  restart();
  EXPECT_EQ(send(5, 0, 0, 2), "dup 0");
  EXPECT_EQ(send(5, 0, 3), "ok 3");
  ASSERT_TRUE(harness_->wait_durable(kFirst));
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  start();
  EXPECT_EQ(send(5, 0, 2), "dup 2");
  EXPECT_EQ(send(5, 0, 3), "dup 3");
  EXPECT_EQ(send(5, 0, 5), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(send(5, 0, 4), "ok 4");
}

TEST_F(IdempotentLogTest, RemembersProducersOfEarlierSegmentsWithAndWithoutTheirIndexes) {
  start();
  ASSERT_TRUE(harness_->create(kFirst));
  EXPECT_EQ(send(5, 0, 0), "ok 0");
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(send(6, 0, i, 1, 3000), fmt::format("ok {}", i + 1));
    if (i % 8 == 0) ASSERT_TRUE(harness_->wait_durable(kFirst));
  }
  ASSERT_TRUE(harness_->wait_durable(kFirst));
  harness_->pass(milliseconds(2000));
  restart();
  EXPECT_EQ(send(5, 0, 0), "dup 0");
  EXPECT_EQ(send(6, 0, 3), "dup 4");
  EXPECT_EQ(send(5, 0, 2), "OUT_OF_ORDER_SEQUENCE");
  kill();
  const std::string directory = "data/" + kFirst.to_string();
  int indexes = 0;
  for (const auto& entry : *disk_.list(directory)) {
    if (!entry.name.ends_with(".idx")) continue;
    std::vector<std::string> shown;
    const auto show = [&](const DumpItem& item) {
      if (item.kind == "producer") shown.push_back(item.fields.front().second);
    };
    ASSERT_TRUE(dump_file(disk_, directory + "/" + entry.name, show));
    EXPECT_TRUE(std::ranges::find(shown, "6") != shown.end()) << entry.name;
    ASSERT_TRUE(disk_.remove_file(directory + "/" + entry.name));
    ++indexes;
  }
  ASSERT_GT(indexes, 2);
  start();
  EXPECT_EQ(send(5, 0, 0), "dup 0");
  EXPECT_EQ(send(6, 0, 3), "dup 4");
  EXPECT_EQ(send(6, 0, 100), "ok 101");
}

TEST_F(IdempotentLogTest, RollsProducersBackWithATruncation) {
  start();
  ASSERT_TRUE(harness_->create(kFirst));
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(send(5 + i % 2, 0, i / 2, 1, 3000), fmt::format("ok {}", i));
    if (i % 8 == 0) ASSERT_TRUE(harness_->wait_durable(kFirst));
  }
  EXPECT_EQ(send(5, 1, 0), "ok 60");  // a new epoch, which goes again
  ASSERT_TRUE(harness_->truncate(kFirst, Offset(31)));
  EXPECT_EQ(send(5, 0, 15), "dup 30");
  EXPECT_EQ(send(6, 0, 15), "ok 31");
  EXPECT_EQ(send(5, 0, 17), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(send(5, 0, 16), "ok 32");
  ASSERT_TRUE(harness_->wait_durable(kFirst));
  restart();
  EXPECT_EQ(send(6, 0, 15), "dup 31");
  EXPECT_EQ(send(5, 0, 17), "ok 33");
}

// What retention removes takes no producer with it: the last index of what is gone stays.
class TrimmedLogTest : public IdempotentLogTest {
 protected:
  // Producer 5 wrote into the first segment only, producer 6 everything else. Only what lies in the
  // last segments is left.
  void trim() {
    start();
    ASSERT_TRUE(harness_->create(kFirst));
    ASSERT_EQ(send(5, 0, 0), "ok 0");
    ASSERT_EQ(send(5, 0, 1), "ok 1");
    write(0, 250);
    for (const int offset : {60, 120}) {
      ASSERT_TRUE(harness_->trim(kFirst, Offset(offset)));
      harness_->pass(milliseconds(500));
    }
    ASSERT_GT(names(".log").front(), segment_file_name(Offset(60)));
    ASSERT_GT(names(".log").size(), 1U);
    const std::string oldest = names(".log").front().substr(0, 20);
    const auto left =
        std::ranges::count_if(names(".idx"), [&](const auto& name) { return name < oldest; });
    ASSERT_EQ(left, 1);
  }
  void write(int from, int to) {
    for (int i = from; i < to; ++i) {
      ASSERT_EQ(send(6, 0, i, 1, 3000), fmt::format("ok {}", i + 2));
      if (i % 8 == 0) ASSERT_TRUE(harness_->wait_durable(kFirst));
    }
    ASSERT_TRUE(harness_->wait_durable(kFirst));
    harness_->pass(milliseconds(2000));
  }
  std::vector<std::string> names(std::string_view suffix) {
    std::vector<std::string> found;
    for (const auto& entry : *disk_.list("data/" + kFirst.to_string())) {
      if (entry.name.ends_with(suffix)) found.push_back(entry.name);
    }
    std::ranges::sort(found);
    return found;
  }
  void remove(const std::string& name) {
    ASSERT_TRUE(disk_.remove_file("data/" + kFirst.to_string() + "/" + name));
  }
};

TEST_F(TrimmedLogTest, RemembersProducersOfWhichNoRecordIsLeft) {
  trim();
  EXPECT_EQ(send(5, 0, 1), "dup 1");
  restart();
  EXPECT_EQ(send(5, 0, 0), "dup 0");
  EXPECT_EQ(send(5, 0, 3), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(send(6, 0, 249), "dup 251");
  EXPECT_EQ(send(5, 0, 2), "ok 252");
  ASSERT_TRUE(harness_->wait_durable(kFirst));
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  start();
  EXPECT_EQ(send(5, 0, 0, 2), "dup 0");
  EXPECT_EQ(send(5, 0, 2), "dup 252");
}

TEST_F(TrimmedLogTest, RemembersThemWithoutTheIndexesOfWhatIsThere) {
  trim();
  kill();
  const auto indexes = names(".idx");
  for (std::size_t i = 1; i < indexes.size(); ++i) remove(indexes[i]);
  const std::size_t left = names(".idx").size();
  start();
  EXPECT_EQ(send(5, 0, 1), "dup 1");
  EXPECT_EQ(send(6, 0, 240), "dup 242");
  EXPECT_EQ(names(".idx").size(), left + names(".log").size() - 1)
      << "what had to be built is written, so that it can stay when its segment goes";
}

TEST_F(TrimmedLogTest, RollsThemBackWithATruncation) {
  trim();
  EXPECT_EQ(send(5, 0, 2), "ok 252");
  ASSERT_TRUE(harness_->truncate(kFirst, Offset(200)));
  EXPECT_EQ(send(5, 0, 1), "dup 1");
  EXPECT_EQ(send(6, 0, 197), "dup 199");
  EXPECT_EQ(send(5, 0, 2), "ok 200");
  EXPECT_EQ(send(6, 0, 198), "ok 201");
}

// Nothing sound is left that knew them: a producer that goes on is told so, it is never answered
// from guesses.
TEST_F(TrimmedLogTest, TellsAProducerThatItIsUnknownWhenItsIndexIsDamaged) {
  trim();
  kill();
  const auto indexes = names(".idx");
  disk_.flip_bit("data/" + kFirst.to_string() + "/" + indexes.front(), 100 * 8);
  for (std::size_t i = 1; i < indexes.size(); ++i) remove(indexes[i]);
  start();
  EXPECT_EQ(send(5, 0, 1), "UNKNOWN_PRODUCER");
  EXPECT_EQ(send(5, 0, 2), "UNKNOWN_PRODUCER");
  EXPECT_EQ(send(5, 1, 0), "ok 252");
  EXPECT_EQ(send(6, 0, 249), "dup 251") << "what the log still holds is known";
}

TEST_F(IdempotentLogTest, TakesOneBatchOfAProducerAtATime) {
  start();
  ASSERT_TRUE(harness_->create(kFirst));
  auto two = produced_batch(kFirst, {ProducerId(5), 0, 0});
  const auto plain = produced_batch(kFirst, {});
  two.insert(two.begin(), plain.begin(), plain.end());
  const auto appended = harness_->find(kFirst)->append(two, LeaderEpoch(1));
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code(), ErrorCode::kInvalidBatch);
  EXPECT_EQ(harness_->find(kFirst)->log_end(), Offset(0));
}

TEST_F(IdempotentLogTest, AnswersDuplicatesWhileTheDiskIsFullAndKeepsTheirOrderBehindIt) {
  start();
  ASSERT_TRUE(harness_->create(kFirst));
  EXPECT_EQ(send(5, 0, 0), "ok 0");
  ASSERT_TRUE(harness_->wait_durable(kFirst));
  kill();
  HarnessOptions full = options(2);
  full.store.shard.free_space_bytes_min = std::uint64_t{1} << 60;
  harness_ = std::make_unique<LogHarness>(disk_, ledger_, full);
  ASSERT_TRUE(harness_->open());
  EXPECT_EQ(send(5, 0, 0), "dup 0");
  EXPECT_EQ(send(5, 0, 1), "STORAGE_FULL");
  EXPECT_EQ(send(5, 0, 2), "STORAGE_FULL");  // not a gap: it may come behind the other
}

}  // namespace
}  // namespace tidelog::log
