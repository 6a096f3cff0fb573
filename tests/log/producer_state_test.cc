// What a log knows of its producers, as a function of the batches in it.
#include "log/producer_state.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/bytes.h"
#include "log/producer_snapshot.h"
#include "tests/log/log_harness.h"
#include "tests/log/produced_batches.h"
#include "tests/sim/sim_random.h"

namespace tidelog::log {
namespace {

const TopicPartition kId = partition_of(1, 0);
constexpr std::int64_t kDayUs = std::int64_t{24} * 3600 * 1'000'000;

// A log that is nothing but its producers.
class Producers {
 public:
  explicit Producers(const ProducerLimits& limits = {}) : table(limits) {}

  // What becomes of a batch: "ok", "dup <offset>", or the error's name. What is ok is appended.
  std::string send(std::int64_t producer, std::int16_t epoch, std::int32_t sequence,
                   int records = 1) {
    const ProducerIdentity identity{ProducerId(producer), epoch, sequence};
    std::vector<std::byte> batch = stamped_batch(kId, identity, end, records, now_us);
    wire::BatchStamp stamp{.base_offset = end,
                           .leader_epoch = LeaderEpoch(1),
                           .append_time_us = now_us,
                           .log_append_time_ms = std::nullopt};
    if (log_append_time) stamp.log_append_time_ms = now_us / 1000;
    wire::stamp_batch(batch, stamp, wire::batch_seed(kId));
    const auto view = wire::BatchView::parse(batch, batch.size());
    const auto checked = table.check(*view);
    if (!checked) return std::string(checked.error().info().name);
    if (*checked) {
      stable_at = (*checked)->end;
      return (*checked)->timestamp_forgotten
                 ? "dup " + std::to_string((*checked)->base.value()) + " of a time"
                 : "dup " + std::to_string((*checked)->base.value());
    }
    table.apply(*view);
    end = view->next_offset();
    return "ok";
  }
  // A batch without a producer.
  void append_plain() {
    const auto batch = stamped_batch(kId, {}, end, 1, now_us);
    table.apply(*wire::BatchView::parse(batch, batch.size()));
    end += 1;
  }

  ProducerTable table;
  Offset end{0};
  Offset stable_at{-1};  // of the last duplicate
  std::int64_t now_us = 100 * kDayUs;
  bool log_append_time = false;  // of what is sent
};

TEST(ProducerTableTest, TakesBatchesThatContinueTheirSequence) {
  Producers log;
  EXPECT_EQ(log.send(7, 0, 0, 3), "ok");
  EXPECT_EQ(log.send(7, 0, 3, 2), "ok");
  EXPECT_EQ(log.send(8, 0, 0), "ok");
  EXPECT_EQ(log.send(7, 0, 5), "ok");
  EXPECT_EQ(log.end, Offset(7));
}

TEST(ProducerTableTest, AnswersADuplicateWithTheOffsetOfTheOriginal) {
  Producers log;
  log.append_plain();
  log.send(7, 0, 0, 3);
  log.send(7, 0, 3, 2);
  log.send(8, 0, 0);
  log.send(7, 0, 5, 4);
  EXPECT_EQ(log.send(7, 0, 0, 3), "dup 1");
  EXPECT_EQ(log.stable_at, Offset(4));
  EXPECT_EQ(log.send(7, 0, 3, 2), "dup 4");
  EXPECT_EQ(log.stable_at, Offset(6));
  EXPECT_EQ(log.send(7, 0, 5, 4), "dup 7");
  EXPECT_EQ(log.stable_at, Offset(11));
}

TEST(ProducerTableTest, RemembersOfEachBatchWhetherItGotTheTimeOfItsAppend) {
  Producers log;
  EXPECT_EQ(log.send(7, 0, 0, 2), "ok");
  log.log_append_time = true;
  EXPECT_EQ(log.send(7, 0, 2, 2), "ok");
  EXPECT_EQ(log.send(7, 0, 4), "ok");
  EXPECT_EQ(log.send(7, 0, 0, 2), "dup 0");
  log.log_append_time = false;
  EXPECT_EQ(log.send(7, 0, 5), "ok");
  EXPECT_EQ(log.table.entries().front().ranges.size(), 3U);
  std::vector<std::byte> snapshot(producer_snapshot_bytes(log.table));
  encode_producers(log.table, snapshot);
  const auto decoded = decode_producers(snapshot);
  ASSERT_TRUE(decoded);
  log.table = *decoded;
  EXPECT_EQ(log.send(7, 0, 0, 2), "dup 0");
  EXPECT_EQ(log.send(7, 0, 2, 2), "dup 2 of a time");
  EXPECT_EQ(log.send(7, 0, 4), "dup 4 of a time");
  EXPECT_EQ(log.send(7, 0, 5), "dup 5");
}

TEST(ProducerTableTest, RemembersTheOnlyWriterInOneRange) {
  Producers log;
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(log.send(7, 0, 2 * i, 2), "ok");
  EXPECT_EQ(log.table.entries().front().ranges.size(), 1U);
  EXPECT_EQ(log.send(7, 0, 0, 2), "dup 0");
}

TEST(ProducerTableTest, AnswersADuplicateThatIsOlderThanItsMemoryWithoutAnOffset) {
  Producers log({.ranges_max = 4});
  for (int i = 0; i < 6; ++i) {
    log.send(7, 0, i);
    log.append_plain();  // so that no two lie back to back
  }
  EXPECT_EQ(log.send(7, 0, 2), "dup 4");
  EXPECT_EQ(log.send(7, 0, 1), "dup -1 of a time");
  EXPECT_LE(Offset(3), log.stable_at);  // stable with what is remembered, not before itself
  EXPECT_LE(log.stable_at, Offset(4));
}

TEST(ProducerTableTest, OfAFewProducersRemembersAtLeastTheNewest256Batches) {
  Producers log;
  for (int i = 0; i < 300; ++i) {
    log.send(7, 0, i);
    log.append_plain();
  }
  EXPECT_EQ(log.send(7, 0, 300 - 256), "dup " + std::to_string(2 * (300 - 256)));
  EXPECT_EQ(log.send(7, 0, 300 - 257), "dup -1 of a time");
}

// The more producers a partition has, the less is remembered of each; what is older is known to be
// there all the same.
TEST(ProducerTableTest, ManyProducersShareWhatIsRemembered) {
  Producers log;
  constexpr int kProducers = 1000;
  for (int batch = 0; batch < 20; ++batch) {
    for (int id = 0; id < kProducers; ++id) ASSERT_EQ(log.send(id, 0, batch), "ok");
  }
  const int first = 5;  // of the producers, by number
  EXPECT_EQ(log.send(first, 0, 12), "dup " + std::to_string(12 * kProducers + first));
  EXPECT_EQ(log.send(first, 0, 11), "dup -1 of a time");
  EXPECT_EQ(log.send(first, 0, 20), "ok");
}

// The worst that producers can do: each fills its share and falls silent before the next one comes.
TEST(ProducerTableTest, HoldsABoundedNumberOfRangesWhateverTheOrder) {
  Producers log;
  for (int id = 0; id < 1200; ++id) {
    for (int batch = 0; batch < 256; ++batch) {
      ASSERT_EQ(log.send(id, 0, batch), "ok");
      log.append_plain();
    }
  }
  std::size_t ranges = 0;
  for (const ProducerEntry& entry : log.table.entries()) ranges += entry.ranges.size();
  EXPECT_EQ(log.table.size(), 1000U);
  EXPECT_LE(ranges, 15'000U);
  EXPECT_LE(producer_snapshot_bytes(log.table), std::size_t{300} << 10);
}

TEST(ProducerTableTest, RefusesWhatFollowsAGapUntilTheSequenceGoesOn) {
  Producers log;
  log.send(7, 0, 0);
  EXPECT_EQ(log.send(7, 0, 2), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(log.send(7, 0, 3), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(log.send(7, 0, 1), "ok");
  EXPECT_EQ(log.send(7, 0, 2), "ok");
}

TEST(ProducerTableTest, RefusesBatchesThatOverlapWhatIsThere) {
  Producers log;
  log.send(7, 0, 0, 4);
  EXPECT_EQ(log.send(7, 0, 2, 4), "OUT_OF_ORDER_SEQUENCE");  // half of it is new
  log.append_plain();
  log.send(7, 0, 4, 4);
  EXPECT_EQ(log.send(7, 0, 2, 4), "OUT_OF_ORDER_SEQUENCE");  // never was one batch
}

TEST(ProducerTableTest, KnowsAStrangerOnlyFromItsFirstRecordOn) {
  Producers log;
  EXPECT_EQ(log.send(7, 0, 5), "UNKNOWN_PRODUCER");
  EXPECT_EQ(log.send(7, 3, 0), "ok");  // in any epoch
}

TEST(ProducerTableTest, BeginsANewEpochWithSequenceZeroAndFencesTheOldOne) {
  Producers log;
  log.send(7, 0, 0, 3);
  EXPECT_EQ(log.send(7, 1, 3), "OUT_OF_ORDER_SEQUENCE");
  EXPECT_EQ(log.send(7, 0, 3), "ok");
  EXPECT_EQ(log.send(7, 1, 0, 2), "ok");
  EXPECT_EQ(log.send(7, 0, 4), "FENCED_PRODUCER");
  EXPECT_EQ(log.send(7, 0, 0, 3), "FENCED_PRODUCER");
  EXPECT_EQ(log.send(7, 1, 0, 2), "dup 4");
  EXPECT_EQ(log.send(7, 1, 2), "ok");
}

TEST(ProducerTableTest, GoesOnBehindTheHighestSequence) {
  Producers log;
  const std::int32_t highest = std::numeric_limits<std::int32_t>::max();
  ASSERT_TRUE(log.table.restore({.id = ProducerId(7),
                                 .epoch = 0,
                                 .last_append_us = log.now_us,
                                 .ranges = {{Offset(0), highest - 3, 2}}}));
  log.end = Offset(2);
  EXPECT_EQ(log.send(7, 0, highest - 1, 4), "ok");
  EXPECT_EQ(log.send(7, 0, 2, 2), "ok");
  EXPECT_EQ(log.send(7, 0, highest - 1, 4), "dup 2");
  EXPECT_EQ(log.send(7, 0, 2, 2), "dup 6");
  EXPECT_EQ(log.send(7, 0, 5), "OUT_OF_ORDER_SEQUENCE");
}

TEST(ProducerTableTest, NeverTakesTheFarFutureForThePast) {
  Producers log;
  const std::int32_t half = std::int32_t{1} << 30;
  ASSERT_TRUE(log.table.restore({.id = ProducerId(7),
                                 .epoch = 0,
                                 .last_append_us = log.now_us,
                                 .ranges = {{Offset(0), 0, half}}}));
  log.end = Offset(half);
  EXPECT_EQ(log.send(7, 0, half, 10), "ok");
  const ProducerRange& range = log.table.entries().front().ranges.front();
  EXPECT_EQ(range, (ProducerRange{Offset(10), 10, half}));  // it has lost its oldest records
  EXPECT_EQ(log.send(7, 0, 10, 2), "dup 10");
  EXPECT_EQ(log.send(7, 0, half + 11, 2), "OUT_OF_ORDER_SEQUENCE");
}

TEST(ProducerTableTest, ForgetsTheMostSilentProducerAboveItsLimit) {
  Producers log({.producers_max = 3});
  for (std::int64_t id = 1; id <= 3; ++id) log.send(id, 0, 0);
  log.send(1, 0, 1);
  log.send(4, 0, 0);
  EXPECT_EQ(log.table.size(), 3U);
  EXPECT_EQ(log.send(2, 0, 1), "UNKNOWN_PRODUCER");
  EXPECT_EQ(log.send(1, 0, 2), "ok");
  EXPECT_EQ(log.send(3, 0, 1), "ok");
}

TEST(ProducerTableTest, ForgetsProducersSevenDaysBehindTheNewestRecordOfTheLog) {
  Producers log;
  log.send(1, 0, 0);
  log.now_us += 7 * kDayUs;
  log.append_plain();
  EXPECT_EQ(log.table.size(), 1U);
  log.now_us += 1;
  EXPECT_EQ(log.send(1, 0, 0), "dup 0");  // time goes on by what is appended only
  log.append_plain();
  EXPECT_TRUE(log.table.empty());
  EXPECT_EQ(log.send(1, 0, 1), "UNKNOWN_PRODUCER");
}

// Found by fuzzing.
TEST(ProducerTableTest, BelievesATimeBeforeAllTimes) {
  Producers log;
  log.now_us = std::numeric_limits<std::int64_t>::min() + 5;
  EXPECT_EQ(log.send(1, 0, 0), "ok");
  EXPECT_EQ(log.send(2, 0, 0), "ok");
  EXPECT_EQ(log.send(1, 0, 0), "dup 0");
  EXPECT_EQ(log.table.size(), 2U);
}

// At whatever batch a snapshot is taken, what follows it leads to the same table.
TEST(ProducerTableTest, IsTheSameFromASnapshotAndTheRest) {
  const ProducerLimits limits{.producers_max = 5,
                              .ranges_max = 3,
                              .ranges_least = 1,
                              .ranges_shared = 8,
                              .forget_after_us = 1000};
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    sim::SimRandom random(seed);
    Producers log(limits);
    std::vector<ProducerTable> tables{log.table};
    std::vector<std::vector<std::byte>> batches;
    std::map<std::int64_t, std::pair<std::int16_t, std::int32_t>> next;
    for (int i = 0; i < 80; ++i) {
      ProducerIdentity identity;
      const int records = static_cast<int>(1 + random.below(3));
      if (!random.one_in(4)) {
        const auto id = static_cast<std::int64_t>(random.below(8));
        auto& [epoch, sequence] = next[id];
        if (random.one_in(9)) {
          ++epoch;
          sequence = 0;
        }
        identity = {ProducerId(id), epoch, sequence};
        sequence += records;
      }
      log.now_us += static_cast<std::int64_t>(random.below(100));
      batches.push_back(stamped_batch(kId, identity, log.end, records, log.now_us));
      const auto view = wire::BatchView::parse(batches.back(), batches.back().size());
      log.table.apply(*view);
      log.end = view->next_offset();
      tables.push_back(log.table);
    }
    for (std::size_t from = 0; from <= batches.size(); ++from) {
      std::vector<std::byte> bytes(producer_snapshot_bytes(tables[from]));
      encode_producers(tables[from], bytes);
      auto decoded = decode_producers(bytes);
      ASSERT_TRUE(decoded);
      ASSERT_EQ(*decoded, tables[from]);
      ProducerTable table = tables[from];  // with its limits
      for (std::size_t i = from; i < batches.size(); ++i) {
        table.apply(*wire::BatchView::parse(batches[i], batches[i].size()));
      }
      ASSERT_EQ(table, log.table) << "seed " << seed << ", from batch " << from;
    }
  }
}

TEST(ProducerSnapshotTest, RefusesWhatIsShortLongOrSaysNonsense) {
  Producers log;
  log.send(7, 2, 0, 3);
  log.append_plain();
  log.send(7, 2, 3);
  log.send(9, 0, 0);
  std::vector<std::byte> bytes(producer_snapshot_bytes(log.table));
  encode_producers(log.table, bytes);
  ASSERT_TRUE(decode_producers(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_producers(std::span(bytes).first(size))) << size;
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_producers(longer));
  const auto with = [&](std::size_t at, std::uint8_t value) {
    auto changed = bytes;
    changed[at] = std::byte{value};
    return changed;
  };
  EXPECT_FALSE(decode_producers(with(8 + 18, 0)));          // a producer without ranges
  EXPECT_FALSE(decode_producers(with(8 + 24 + 12, 0)));     // a range without records
  EXPECT_FALSE(decode_producers(with(8 + 24 + 11, 0x80)));  // a negative sequence
  EXPECT_FALSE(decode_producers(with(8 + 24 + 32, 7)));     // a producer twice
  EXPECT_FALSE(decode_producers(with(3, 1)));               // more producers than bytes
  EXPECT_FALSE(decode_producers(with(4, 1)));               // not zero
  EXPECT_FALSE(decode_producers(with(8 + 20, 1)));          // not zero
  EXPECT_FALSE(decode_producers(with(8 + 7, 0x80)));        // a negative id
  EXPECT_FALSE(decode_producers(with(8 + 17, 0x80)));       // a negative epoch
  EXPECT_FALSE(decode_producers(with(8 + 24 + 7, 0x80)));   // a negative offset
  EXPECT_FALSE(decode_producers(with(8 + 24 + 7, 0x7f)));   // offsets that do not rise
  EXPECT_FALSE(decode_producers(with(8 + 24 + 15, 0x40)));  // more records than a range may have
}

// A count alone makes nobody allocate: the limits are checked first.
TEST(ProducerSnapshotTest, RefusesMoreThanATableMayHold) {
  const auto snapshot = [](std::uint32_t producers, std::uint16_t ranges) {
    std::vector<std::byte> bytes(8 + producers * (24U + ranges * 16U));
    store_le<std::uint32_t>(bytes.data(), producers);
    std::byte* at = bytes.data() + 8;
    for (std::uint32_t i = 0; i < producers; ++i) {
      store_le<std::int64_t>(at, i);
      store_le<std::uint16_t>(at + 18, ranges);
      at += 24;
      for (std::uint16_t r = 0; r < ranges; ++r, at += 16) {
        store_le<std::int64_t>(at, r);
        store_le<std::int32_t>(at + 8, r);
        store_le<std::int32_t>(at + 12, 1);
      }
    }
    return bytes;
  };
  EXPECT_TRUE(decode_producers(snapshot(1000, 1)));
  EXPECT_FALSE(decode_producers(snapshot(1001, 1)));
  EXPECT_TRUE(decode_producers(snapshot(1, 256)));
  EXPECT_FALSE(decode_producers(snapshot(1, 257)));
}

}  // namespace
}  // namespace tidelog::log
