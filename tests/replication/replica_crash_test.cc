// A replica over the real log on a simulated disk: what it acknowledged survives every crash.
#include <gtest/gtest.h>

#include <map>

#include "replication/replica.h"
#include "tests/log/log_harness.h"
#include "wire/record_batch.h"

namespace tidelog::replication {
namespace {

using log::LogHarness;
using log::make_batch;
using sim::CrashPolicy;
using sim::SimDisk;

constexpr BrokerId kSelf{0};
const TopicPartition kLog = log::partition_of(1, 0);

// What was acknowledged: base offset and the batch as it was sent.
using Acknowledged = std::map<Offset, std::vector<std::byte>>;

void produce(Replica& replica, Acks acks, std::uint64_t seed, Acknowledged& acknowledged) {
  std::vector<std::byte> batch = make_batch(kLog, seed, 100 + seed * 37 % 3000);
  replica.produce(batch, acks, [batch, &acknowledged](Result<ProduceOutcome> outcome) {
    if (outcome) acknowledged[outcome->base_offset] = batch;
  });
}

Acknowledged run_history(SimDisk& disk) {
  Acknowledged acknowledged;
  log::Ledger ledger;
  LogHarness harness(disk, ledger);
  if (!harness.open() || !harness.create(kLog)) return acknowledged;
  Replica replica(harness.executor(), *harness.find(kLog), {.self = kSelf});
  replica.become_leader(LeaderEpoch(0), InSyncSet({kSelf}));
  for (std::uint64_t seed = 1; seed <= 24 && !disk.powered_off(); ++seed) {
    produce(replica, seed % 3 == 0 ? Acks::kLeader : Acks::kAll, seed, acknowledged);
    if (seed % 4 == 0) harness.idle();
    if (seed % 9 == 0) harness.pass(std::chrono::milliseconds(60));
  }
  harness.idle();
  replica.stop();
  harness.idle();
  return acknowledged;
}

void check_found(SimDisk& disk, const Acknowledged& acknowledged, const std::string& where) {
  log::Ledger ledger;
  LogHarness harness(disk, ledger);
  const auto opened = harness.open();
  ASSERT_TRUE(opened) << where << ": " << opened.error().message();
  log::PartitionLog* found = harness.find(kLog);
  if (found == nullptr) {
    ASSERT_TRUE(acknowledged.empty()) << where << ": the log is gone";
    return;
  }
  Replica replica(harness.executor(), *found, {.self = kSelf});
  ASSERT_LE(replica.high_watermark(), found->durable_end()) << where;
  replica.become_leader(LeaderEpoch(1), InSyncSet({kSelf}));
  const auto end = replica.readable_end();
  ASSERT_TRUE(end) << where << ": " << end.error().message();
  const auto bytes = harness.read_all(kLog, Offset(0), *end);
  ASSERT_TRUE(bytes) << where << ": " << bytes.error().message();
  std::map<Offset, std::vector<std::byte>> records;
  for (auto rest = std::span<const std::byte>(*bytes); !rest.empty();) {
    const auto batch = wire::BatchView::parse(rest, std::size_t{4} << 20);
    ASSERT_TRUE(batch) << where;
    records[batch->base_offset()].assign(batch->records().begin(), batch->records().end());
    rest = rest.subspan(batch->size());
  }
  for (const auto& [base, sent] : acknowledged) {
    const std::vector<std::byte> payload(sent.begin() + wire::kBatchHeaderBytes, sent.end());
    ASSERT_TRUE(records.contains(base)) << where << ": offset " << base.value() << " is lost";
    ASSERT_EQ(records.at(base), payload) << where << ": offset " << base.value();
  }
  // And it goes on, in its new epoch.
  Acknowledged more;
  produce(replica, Acks::kAll, 99, more);
  harness.idle();
  ASSERT_EQ(more.size(), 1u) << where;
  EXPECT_EQ(more.begin()->first, *end) << where;
  EXPECT_EQ(found->last_epoch(), LeaderEpoch(1)) << where;
}

TEST(ReplicaCrashTest, EverythingAcknowledgedSurvivesACrashAtAnyPoint) {
  std::uint64_t crashes = 0;
  for (std::uint64_t point = 1;; ++point) {
    SimDisk disk;
    disk.stop_at(point);
    const Acknowledged acknowledged = run_history(disk);
    for (const CrashPolicy& policy :
         {CrashPolicy::nothing(), CrashPolicy::everything(), CrashPolicy::random(point)}) {
      const auto found = disk.crash_image(policy);
      check_found(*found, acknowledged, disk.stopped_by() + ", " + policy.to_string());
      ++crashes;
      if (testing::Test::HasFailure()) return;
    }
    if (!disk.powered_off()) {
      EXPECT_EQ(acknowledged.size(), 24u);
      break;
    }
  }
  EXPECT_GT(crashes, 100u);
}

}  // namespace
}  // namespace tidelog::replication
