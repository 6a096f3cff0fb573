// Reads of what memory no longer holds: wherever a batch lies between two index entries, however
// large it is, and however many ask for it at once.
#include <gtest/gtest.h>

#include <optional>

#include "tests/log/log_fixture.h"
#include "tests/sim/sim_random.h"
#include "wire/batch_builder.h"

namespace tidelog::log {
namespace {

// Nothing stays in memory; an index entry names a few batches, of which a read holds a part.
HarnessOptions cold() {
  HarnessOptions options;
  options.shards = 1;
  options.store.shard.tail_cache_bytes = 0;
  options.store.shard.index_interval_bytes = 8 << 10;
  options.store.shard.cold_read_bytes = 16 << 10;
  return options;
}

std::vector<std::byte> batch_of(int records, std::size_t bytes_each, std::int64_t timestamp_ms) {
  const std::string value(bytes_each, 'v');
  wire::BatchBuilder builder;
  BufferPool pool(0);
  for (int i = 0; i < records; ++i) {
    wire::RecordView record;
    record.value = value;
    builder.add(timestamp_ms, record);
  }
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(kId), {}, pool);
  return {batch->bytes().begin(), batch->bytes().end()};
}

class ColdReadTest : public LogFixture {
 protected:
  // Everything is in segments then, nothing in memory.
  void restart(const HarnessOptions& options = cold()) {
    crash();
    start(options);
  }
  // In no order: whoever reads on starts where the last read ended, others at an index entry.
  void expect_every_batch(sim::SimRandom& random) {
    std::vector<std::pair<Offset, LedgerLog::Batch>> batches(ledger_.logs[kId].batches.begin(),
                                                             ledger_.logs[kId].batches.end());
    for (std::size_t i = batches.size(); i > 1; --i) {
      std::swap(batches[i - 1], batches[random.below(i)]);
    }
    for (const auto& [base, batch] : batches) {
      const auto held = harness_->read_all(kId, base, batch.next);
      ASSERT_TRUE(held) << "offset " << base.value() << ": " << held.error().to_string();
      ASSERT_EQ(*held, batch.bytes) << "offset " << base.value();
    }
  }
};

TEST_F(ColdReadTest, ABatchLargerThanAReadIsFoundBehindASmallOneThatTheIndexNames) {
  start(cold());
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 1, 1 << 10);
  append_durably(kId, 2, 30 << 10);
  ASSERT_TRUE(harness_->stop_cleanly());
  harness_.reset();
  start(cold());
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t offset : {1, 2, 0}) {
      const auto held = harness_->read_all(kId, Offset(offset), Offset(offset + 1));
      ASSERT_TRUE(held) << held.error().to_string();
      EXPECT_EQ(*held, ledger_.logs[kId].batches[Offset(offset)].bytes) << offset;
    }
    restart();
  }
}

TEST_F(ColdReadTest, AReadMayBeginInsideALargeBatch) {
  start(cold());
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 1, 1 << 10);
  ASSERT_TRUE(harness_->append_batch(kId, batch_of(30, 1 << 10, 1000)));
  append_durably(kId);
  for (std::int64_t offset = 1; offset < 31; ++offset) {
    restart();
    const auto held = harness_->read_all(kId, Offset(offset), Offset(31));
    ASSERT_TRUE(held) << offset << ": " << held.error().to_string();
    EXPECT_EQ(*held, ledger_.logs[kId].batches[Offset(1)].bytes) << offset;
  }
}

TEST_F(ColdReadTest, ASearchByTimeFindsALargeBatchBehindASmallOne) {
  start(cold());
  ASSERT_TRUE(harness_->create(kId));
  ASSERT_TRUE(harness_->append_batch(kId, batch_of(1, 1 << 10, 1000)));
  ASSERT_TRUE(harness_->append_batch(kId, batch_of(30, 1 << 10, 2000)));
  ASSERT_TRUE(harness_->append_batch(kId, batch_of(30, 1 << 10, 3000)));
  ASSERT_TRUE(harness_->wait_durable(kId));
  restart();
  const auto find = [this](std::int64_t timestamp_ms) {
    std::optional<Result<std::optional<PartitionLog::TimestampMatch>>> answer;
    harness_->find(kId)->find_timestamp(timestamp_ms, Offset(61),
                                        [&](auto found) { answer = std::move(found); });
    harness_->executor().run_until([&] { return answer.has_value(); });
    return answer && *answer && **answer ? (**answer)->base_offset : Offset(-1);
  };
  EXPECT_EQ(find(1500), Offset(1));
  EXPECT_EQ(find(2500), Offset(31));
}

TEST_F(ColdReadTest, AReaderWaitsForOneSearchByTimeHoweverManyThereAre) {
  HarnessOptions options = cold();
  options.store.shard.cold_reads_in_flight_max = 1;
  options.store.shard.read_cache_bytes = 0;
  start(options);
  ASSERT_TRUE(harness_->create(kId));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(harness_->append_batch(kId, batch_of(1, 10 << 10, 1000 + i)));
  }
  ASSERT_TRUE(harness_->wait_durable(kId));
  restart(options);
  int found = 0;
  for (int i = 0; i < 100; ++i) {
    harness_->find(kId)->find_timestamp(1000 + i, Offset(100), [&, i](auto match) {
      EXPECT_TRUE(match && *match && (**match).base_offset == Offset(i));
      ++found;
    });
  }
  std::vector<int> found_before;
  int reads = 0;
  const std::function<void()> read_on = [&] {
    const ReadLimits limits{.up_to = Offset(100), .bytes_max = 1};
    harness_->find(kId)->read(Offset(5 + 20 * reads), limits, [&](const Result<ReadResult>& read) {
      EXPECT_TRUE(read) << read.error().to_string();
      found_before.push_back(found);
      if (++reads < 4) read_on();
    });
  };
  read_on();
  ASSERT_TRUE(harness_->executor().run_until([&] { return found == 100 && reads == 4; }));
  for (std::size_t i = 0; i < found_before.size(); ++i) {
    EXPECT_LE(found_before[i], 3 * (static_cast<int>(i) + 1)) << "read " << i;
  }
}

TEST_F(ColdReadTest, EveryOffsetIsReadableWhateverTheBatchesAreAndWhereverTheReadEnds) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    sim::SimRandom random(seed);
    HarnessOptions options = cold();
    options.seed = seed;
    options.store.shard.cold_read_bytes = random.between(1, 8) * io::kBlockBytes;
    options.store.shard.index_interval_bytes = random.between(1, 8) * 4096;
    options.settings.segment_bytes = 256 << 10;
    harness_.reset();
    disk_ = std::make_unique<sim::SimDisk>();
    ledger_ = {};
    start(options);
    ASSERT_TRUE(harness_->create(kId));
    for (int i = 0; i < 40; ++i) {
      const auto bytes = static_cast<std::size_t>(random.one_in(3) ? random.between(1, 40'000)
                                                                   : random.between(1, 4'000));
      ASSERT_TRUE(harness_->append(kId, bytes));
      if (random.one_in(3)) ASSERT_TRUE(harness_->wait_durable(kId));
    }
    ASSERT_TRUE(harness_->wait_durable(kId));
    restart(options);
    expect_every_batch(random);
    restart(options);
    EXPECT_EQ(compare(*harness_, ledger_), "");
  }
}

TEST_F(ColdReadTest, AnyNumberOfReadersMayAskForTheSameOffsetAtOnce) {
  start(cold());
  ASSERT_TRUE(harness_->create(kId));
  append_durably(kId, 3);
  restart();
  constexpr int kReaders = 100'000;
  int answered = 0;
  for (int i = 0; i < kReaders; ++i) {
    harness_->find(kId)->read(Offset(1), {.up_to = Offset(3), .bytes_max = 1, .at_least_one = true},
                              [&](Result<ReadResult> result) {
                                if (result && result->base_offset == Offset(1)) ++answered;
                              });
  }
  harness_->idle();
  EXPECT_EQ(answered, kReaders);
}

}  // namespace
}  // namespace tidelog::log
