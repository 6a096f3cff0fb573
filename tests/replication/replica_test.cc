#include "replication/replica.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/memory_log.h"
#include "tests/sim/sim_executor.h"
#include "wire/batch_builder.h"

namespace tidelog::replication {
namespace {

using sim::MemoryLog;
using sim::SimExecutor;
using testing::ElementsAre;
using testing::HasSubstr;

const TopicPartition kPartition{*TopicId::parse("000102030405060708090a0b0c0d0e0f"),
                                PartitionIndex(3)};
constexpr BrokerId kSelf{1};
constexpr BrokerId kOther{2};

// Answers are kept as text: "ok 5" or the error's name.
class ReplicaTest : public testing::Test {
 protected:
  void lead(ReplicaOptions options = {}, const std::vector<BrokerId>& isr = {kSelf},
            int epoch = 0) {
    options.self = kSelf;
    replica_ = std::make_unique<Replica>(executor_, log_, options);
    replica_->on_advance([this] { ++advances_; });
    replica_->become_leader(LeaderEpoch(epoch), InSyncSet(isr));
    executor_.run_until_idle();
    advances_ = 0;
  }

  SharedBytes batch(int records = 1, std::size_t value_bytes = 10,
                    const wire::BatchBuilder::Identity& identity = {}) {
    wire::BatchBuilder builder;
    value_ = std::string(value_bytes, 'v');
    for (int i = 0; i < records; ++i) builder.add(1000 + i, {.value = value_});
    return *builder.finish(wire::Codec::kNone, wire::batch_seed(kPartition), identity, pool_);
  }

  // One record of the idempotent producer 7.
  void produce_numbered(Acks acks, std::int32_t sequence) {
    produce(acks, 1, {ProducerId(7), 0, sequence});
  }

  void produce(Acks acks, int records = 1, const wire::BatchBuilder::Identity& identity = {}) {
    const std::size_t at = answers_.size();
    answers_.emplace_back("pending");
    replica_->produce(
        batch(records, 10, identity).bytes(), acks, [this, at](Result<ProduceOutcome> outcome) {
          EXPECT_EQ(answers_[at], "pending") << "a produce was settled twice";
          answers_[at] = outcome ? "ok " + std::to_string(outcome->base_offset.value())
                                 : std::string(outcome.error().info().name);
        });
  }

  SimExecutor executor_;
  BufferPool pool_{1 << 20};
  std::string value_;
  MemoryLog log_{executor_, kPartition};
  std::unique_ptr<Replica> replica_;
  std::vector<std::string> answers_;
  int advances_ = 0;
};

TEST_F(ReplicaTest, InMemoryWhatWasAppendedIsAcknowledgedAndReadAtOnce) {
  lead({.durability = RecordDurability::kMemory});
  log_.hold();
  produce(Acks::kAll, 2);
  produce(Acks::kLeader);
  EXPECT_THAT(answers_, ElementsAre("pending", "pending")) << "never inside the call";
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 2"));
  EXPECT_EQ(replica_->high_watermark(), Offset(3));
  EXPECT_EQ(log_.durable_end(), Offset(0));
  EXPECT_EQ(advances_, 1) << "once for all that was appended meanwhile";
}

TEST_F(ReplicaTest, AChangeOfDurabilityHoldsForWhatFollowsAndTakesNothingBack) {
  lead({.durability = RecordDurability::kMemory});
  log_.hold();
  produce(Acks::kAll);
  executor_.run_until_idle();
  replica_->change_durability(RecordDurability::kDurable);
  produce(Acks::kAll);
  produce(Acks::kLeader);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "pending", "pending"));
  EXPECT_EQ(replica_->high_watermark(), Offset(1));
  replica_->change_durability(RecordDurability::kMemory);
  EXPECT_THAT(answers_, ElementsAre("ok 0", "pending", "pending")) << "never inside the call";
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 1", "ok 2"));
}

TEST_F(ReplicaTest, AReplicaThatGoesBeforeItCouldAcknowledgeSaysTheOutcomeIsUnknown) {
  lead({.durability = RecordDurability::kMemory});
  produce(Acks::kAll);
  replica_.reset();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("UNKNOWN_OUTCOME"));
}

TEST_F(ReplicaTest, AcksAllWaitsUntilTheBatchIsCommitted) {
  lead();
  log_.hold();
  produce(Acks::kAll, 2);
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("pending", "pending"));
  EXPECT_EQ(replica_->high_watermark(), Offset(0));
  log_.release_up_to(Offset(2));
  EXPECT_THAT(answers_, ElementsAre("ok 0", "pending"));
  EXPECT_EQ(replica_->high_watermark(), Offset(2));
  log_.release();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 2"));
  EXPECT_EQ(*replica_->readable_end(), Offset(3));
}

TEST_F(ReplicaTest, AcksAllWaitsForEveryMemberOfTheInSyncSet) {
  lead({}, {kSelf, kOther});
  produce(Acks::kAll);
  produce(Acks::kLeader);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("pending", "ok 1"));
  EXPECT_EQ(log_.durable_end(), Offset(2));
  EXPECT_EQ(replica_->high_watermark(), Offset(0)) << "the other member has reported nothing";
  EXPECT_EQ(advances_, 0);
}

TEST_F(ReplicaTest, AcksNoneAnswersAtOnceAndNeedsNoCallback) {
  lead();
  log_.hold();
  produce(Acks::kNone);
  EXPECT_THAT(answers_, ElementsAre("pending")) << "never inside the call";
  replica_->produce(batch().bytes(), Acks::kNone, nullptr);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0"));
  EXPECT_EQ(log_.log_end(), Offset(2));
}

TEST_F(ReplicaTest, RefusesToProduceUnlessItLeads) {
  replica_ = std::make_unique<Replica>(executor_, log_, ReplicaOptions{.self = kSelf});
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("NOT_LEADER"));
  EXPECT_EQ(log_.log_end(), Offset(0));
  EXPECT_EQ(replica_->readable_end().error().code(), ErrorCode::kNotLeader);
}

TEST_F(ReplicaTest, RefusesAcksAllWithTooFewInSyncReplicasButNotAcksLeader) {
  lead({.min_isr = 2});
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("NOT_ENOUGH_REPLICAS"));
  EXPECT_EQ(log_.log_end(), Offset(0)) << "nothing was appended";
  produce(Acks::kLeader);
  executor_.run_until_idle();
  EXPECT_EQ(answers_.back(), "ok 0");
  EXPECT_EQ(replica_->high_watermark(), Offset(0)) << "R2: not with fewer than min_isr members";
}

TEST_F(ReplicaTest, RefusesMoreThanTheUncommittedLimitUntilSomeIsCommitted) {
  const std::size_t one = batch().size();
  lead({.uncommitted_bytes_max = 2 * one});
  log_.hold();
  for (int i = 0; i < 3; ++i) produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("pending", "pending", "OVERLOADED"));
  log_.release_up_to(Offset(1));
  produce(Acks::kAll);
  log_.release();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 1", "OVERLOADED", "ok 2"));
}

TEST_F(ReplicaTest, AcceptsOneRequestThatAloneExceedsTheUncommittedLimit) {
  lead({.uncommitted_bytes_max = 1});
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0"));
}

TEST_F(ReplicaTest, PassesOnWhyTheLogRefused) {
  lead();
  log_.refuse_next_append({ErrorCode::kStorageFull, "no space"});
  produce(Acks::kAll);
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("STORAGE_FULL", "ok 0"));
}

TEST_F(ReplicaTest, ADuplicateWaitsUntilItsOriginalIsCommitted) {
  lead();
  log_.hold();
  produce_numbered(Acks::kAll, 0);
  produce_numbered(Acks::kAll, 1);
  produce_numbered(Acks::kAll, 0);     // again, behind a later one
  produce_numbered(Acks::kLeader, 0);  // and as somebody who asks for less
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("pending", "pending", "pending", "pending"));
  EXPECT_EQ(log_.log_end(), Offset(2));
  log_.release_up_to(Offset(1));
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "pending", "ok 0", "ok 0"));
  log_.release();
  executor_.run_until_idle();
  produce_numbered(Acks::kAll, 1);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 1", "ok 0", "ok 0", "ok 1"));
  EXPECT_EQ(log_.log_end(), Offset(2));
}

TEST_F(ReplicaTest, ADuplicateWaitsForTheInSyncSetLikeItsOriginal) {
  lead({}, {kSelf, kOther});
  produce_numbered(Acks::kAll, 0);
  executor_.run_until_idle();
  ASSERT_EQ(log_.durable_end(), Offset(1));
  produce_numbered(Acks::kAll, 0);
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("pending", "pending"));
  replica_->stop();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME"));
}

TEST_F(ReplicaTest, DuplicatesTakeUpNothingOfTheUncommittedLimit) {
  lead({.uncommitted_bytes_max = 300});
  log_.hold();
  produce_numbered(Acks::kAll, 0);
  produce_numbered(Acks::kAll, 0);
  produce_numbered(Acks::kAll, 1);
  log_.release();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "ok 0", "ok 1"));
}

TEST_F(ReplicaTest, StoppingSettlesWhatIsPendingAsUnknownOnce) {
  lead({}, {kSelf, kOther});
  log_.hold();
  produce(Acks::kAll);
  produce(Acks::kLeader);
  replica_->stop();
  EXPECT_THAT(answers_, ElementsAre("pending", "pending")) << "never inside the call";
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME"));
  EXPECT_EQ(advances_, 1) << "parked fetches look again";
  log_.release();  // what becomes durable later settles nothing twice
  executor_.run_until_idle();
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_EQ(answers_.back(), "NOT_LEADER");
  EXPECT_FALSE(replica_->leading());
}

TEST_F(ReplicaTest, OnAFullDiskStoppingSaysOfWhatNoWriteTookThatItIsNotStored) {
  lead({}, {kSelf, kOther});
  log_.hold();
  produce(Acks::kAll, 2);
  produce(Acks::kLeader, 2);
  produce_numbered(Acks::kLeader, 0);
  produce_numbered(Acks::kLeader, 0);
  log_.fill(Offset(3));  // a part of the second one
  replica_->stop();
  EXPECT_THAT(answers_, testing::Each("pending")) << "never inside the call";
  executor_.run_until_idle();
  EXPECT_THAT(answers_,
              ElementsAre("UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME", "STORAGE_FULL", "STORAGE_FULL"));
  EXPECT_EQ(log_.log_end(), Offset(4)) << "a batch is taken whole";
}

TEST_F(ReplicaTest, OnAFullDiskWhatWasAcknowledgedFromMemoryIsNotTakenBack) {
  lead({.durability = RecordDurability::kMemory}, {kSelf, kOther});
  log_.hold();
  produce(Acks::kLeader);
  produce(Acks::kAll);
  executor_.run_until_idle();
  log_.fill(Offset(0));
  replica_->stop();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "STORAGE_FULL"));
  EXPECT_EQ(log_.log_end(), Offset(1));
}

TEST_F(ReplicaTest, ANewTermSettlesTheOldOnesProducesAsUnknown) {
  lead();
  log_.hold();
  produce(Acks::kAll);
  replica_->become_leader(LeaderEpoch(1), InSyncSet({kSelf}));
  produce(Acks::kAll);
  log_.release();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("UNKNOWN_OUTCOME", "ok 1"));
  EXPECT_EQ(replica_->leader_epoch(), LeaderEpoch(1));
  EXPECT_EQ(log_.last_epoch(), LeaderEpoch(1));
}

TEST_F(ReplicaTest, AFailedLogEndsLeadershipAndKeepsWhatWasCommittedReadable) {
  lead();
  produce(Acks::kAll);
  executor_.run_until_idle();
  log_.hold();
  produce(Acks::kAll);
  produce(Acks::kLeader);
  log_.fail_writes({ErrorCode::kStorageFailed, "EIO on journal/0-1"});
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("ok 0", "UNKNOWN_OUTCOME", "UNKNOWN_OUTCOME"));
  EXPECT_FALSE(replica_->leading());
  EXPECT_EQ(*replica_->readable_end(), Offset(1));
  produce(Acks::kNone);
  executor_.run_until_idle();
  EXPECT_EQ(answers_.back(), "STORAGE_FAILED");
  replica_->become_leader(LeaderEpoch(5), InSyncSet({kSelf}));
  EXPECT_FALSE(replica_->leading());
}

TEST_F(ReplicaTest, ServesBelowTheInheritedHighWatermarkUntilTheEndAtElectionIsCommitted) {
  lead();
  produce(Acks::kAll, 4);
  executor_.run_until_idle();
  replica_.reset();
  // The checkpoint knew a high watermark of 2; the other member of the set has not reported yet.
  log_.set_checkpointed_high_watermark(Offset(2));
  log_.lose_unstable();
  lead({}, {kSelf, kOther}, 1);
  EXPECT_EQ(replica_->high_watermark(), Offset(2));
  const auto end = replica_->readable_end();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code(), ErrorCode::kNotReady);
  EXPECT_THAT(end.error().message(), HasSubstr("waits for 4"));
  // Alone in the set it is ready at once.
  replica_->become_leader(LeaderEpoch(2), InSyncSet({kSelf}));
  EXPECT_EQ(*replica_->readable_end(), Offset(4));
}

TEST_F(ReplicaTest, TheHighWatermarkStartsBetweenLogStartAndDurableEnd) {
  lead();
  produce(Acks::kAll, 4);
  executor_.run_until_idle();
  const auto starts_at = [this](Offset checkpointed) {
    replica_.reset();
    log_.set_checkpointed_high_watermark(checkpointed);
    log_.lose_unstable();
    replica_ = std::make_unique<Replica>(executor_, log_, ReplicaOptions{});
    return replica_->high_watermark();
  };
  EXPECT_EQ(starts_at(Offset(3)), Offset(3));
  EXPECT_EQ(starts_at(Offset(9)), Offset(4)) << "never above the own durable end";
  log_.drop_before(Offset(4));
  EXPECT_EQ(starts_at(Offset(1)), Offset(4)) << "never below the log's start";
}

TEST_F(ReplicaTest, TheHighWatermarkOfATermIsInheritedByTheNext) {
  lead();
  produce(Acks::kAll, 4);
  executor_.run_until_idle();
  replica_.reset();
  log_.lose_unstable();
  lead({}, {kSelf, kOther}, 1);
  EXPECT_EQ(replica_->high_watermark(), Offset(4));
  EXPECT_EQ(*replica_->readable_end(), Offset(4));
}

TEST_F(ReplicaTest, TellsItsListenerOncePerAdvance) {
  lead();
  log_.hold();
  for (int i = 0; i < 3; ++i) produce(Acks::kAll);
  log_.release_up_to(Offset(2));
  EXPECT_EQ(advances_, 1);
  log_.release_up_to(Offset(3));
  EXPECT_EQ(advances_, 2);
}

TEST_F(ReplicaTest, ACallbackMayProduceAndStop) {
  lead();
  std::vector<std::string> order;
  replica_->produce(batch().bytes(), Acks::kAll, [&](Result<ProduceOutcome> outcome) {
    order.push_back(outcome ? "first" : "first failed");
    replica_->produce(batch().bytes(), Acks::kAll, [&](Result<ProduceOutcome> again) {
      order.push_back(again ? "second" : "second failed");
    });
    replica_->stop();
  });
  executor_.run_until_idle();
  EXPECT_THAT(order, ElementsAre("first", "second failed"));
}

TEST_F(ReplicaTest, DestroyingItSettlesWhatIsPending) {
  lead();
  log_.hold();
  produce(Acks::kAll);
  replica_.reset();
  executor_.run_until_idle();
  EXPECT_THAT(answers_, ElementsAre("UNKNOWN_OUTCOME"));
  log_.release();
  executor_.run_until_idle();
}

TEST_F(ReplicaTest, WhatWasLostWithAnOldEpochNeverSharesOffsetAndEpochWithTheNew) {
  lead();
  log_.hold();
  produce(Acks::kAll);
  replica_.reset();
  log_.lose_unstable();
  lead({}, {kSelf}, 1);
  log_.release();
  produce(Acks::kAll);
  executor_.run_until_idle();
  EXPECT_EQ(answers_.back(), "ok 0");
  EXPECT_EQ(log_.last_epoch(), LeaderEpoch(1));
}

TEST(ReplicaDeathTest, NeverLeadsBelowTheEpochOfItsLogOrOutsideTheInSyncSet) {
  SimExecutor executor;
  MemoryLog log(executor, kPartition);
  Replica replica(executor, log, {.self = kSelf});
  EXPECT_DEATH(replica.become_leader(LeaderEpoch(-2), InSyncSet({kSelf})), "epoch");
  EXPECT_DEATH(replica.become_leader(LeaderEpoch(0), InSyncSet({kOther})), "in-sync");
}

}  // namespace
}  // namespace tidelog::replication
