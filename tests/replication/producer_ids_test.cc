// No producer id is given twice: not by two brokers, not over a crash, not when the store loses an
// answer.
#include "replication/producer_ids.h"

#include <gtest/gtest.h>

#include <set>

#include "replication/metadata_records.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_metadata_store.h"

namespace tidelog::replication {
namespace {

// Nonces and names of files: no two lives share any.
std::function<std::uint64_t()> fresh_ids() {
  static std::uint64_t next = 0;
  return [] { return ++next; };
}

class ProducerIdsTest : public testing::Test {
 protected:
  Result<ProducerId> allocate(ProducerIds& ids) {
    return answer_of<ProducerId>(executor_, [&](auto done) { ids.allocate(std::move(done)); });
  }
  // All `count` at once; each is new.
  void allocate_new(ProducerIds& ids, int count) {
    int answers = 0;
    for (int i = 0; i < count; ++i) {
      ids.allocate([&](Result<ProducerId> id) {
        ++answers;
        ASSERT_TRUE(id) << id.error().to_string();
        EXPECT_TRUE(given_.insert(id->value()).second) << id->value() << " was given twice";
      });
    }
    EXPECT_TRUE(executor_.run_until([&] { return answers == count; }));
  }

  sim::SimExecutor executor_{1};
  sim::SimMetadata service_{executor_};
  sim::SimMetadataStore store_{service_, executor_};
  sim::SimMetadataStore other_store_{service_, executor_};
  std::set<std::int64_t> given_;
};

TEST_F(ProducerIdsTest, GivesEachIdOnceOverBlocks) {
  ProducerIds ids(store_, executor_, fresh_ids());
  allocate_new(ids, 2 * ProducerIds::kBlock + 7);
  allocate_new(ids, 1);
  EXPECT_EQ(*given_.begin(), 0);
}

TEST_F(ProducerIdsTest, SkipsWhatIsLeftOfABlockAfterARestart) {
  {
    ProducerIds ids(store_, executor_, fresh_ids());
    allocate_new(ids, 3);
  }
  ProducerIds again(store_, executor_, fresh_ids());
  const auto id = allocate(again);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->value(), ProducerIds::kBlock);
}

TEST_F(ProducerIdsTest, TwoBrokersNeverGiveTheSameId) {
  ProducerIds ids(store_, executor_, fresh_ids());
  ProducerIds others(other_store_, executor_, fresh_ids());
  for (int round = 0; round < 4; ++round) {
    int answers = 0;
    for (int i = 0; i < ProducerIds::kBlock; ++i) {
      for (ProducerIds* broker : {&ids, &others}) {
        broker->allocate([&](Result<ProducerId> id) {
          ++answers;
          ASSERT_TRUE(id) << id.error().to_string();
          EXPECT_TRUE(given_.insert(id->value()).second) << id->value() << " was given twice";
        });
      }
    }
    ASSERT_TRUE(executor_.run_until([&] { return answers == 2 * ProducerIds::kBlock; }));
  }
}

TEST_F(ProducerIdsTest, ALostAnswerOfTheStoreNeverLeadsToAnIdTwice) {
  for (const bool applied : {true, false}) {
    ProducerIds ids(store_, executor_, fresh_ids());
    store_.lose_next_answer(applied);
    allocate_new(ids, 5);
    ProducerIds others(other_store_, executor_, fresh_ids());
    allocate_new(others, 5);
  }
}

TEST_F(ProducerIdsTest, RefusesToGoOnFromAValueThatCannotBeRead) {
  ASSERT_TRUE(commit(
      executor_, store_,
      {.compares = {}, .operations = {put(std::string(kProducerIdsKey), R"({"next":-4})")}}));
  ProducerIds ids(store_, executor_, fresh_ids());
  const auto id = allocate(ids);
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code(), ErrorCode::kCorruptData);
}

// On a disk that loses what was not synced, at every step.
TEST(ProducerIdsCrashTest, NoPowerCutGivesAnIdTwice) {
  for (std::uint64_t point = 1;; ++point) {
    sim::SimDisk disk;
    disk.stop_at(point);
    std::set<std::int64_t> given;
    const auto allocate_some = [&given](sim::SimDisk& on, std::uint64_t seed) {
      sim::SimExecutor executor(seed);
      auto store =
          LocalStore::open(on, executor, executor, {.path = "metadata", .random_id = fresh_ids()});
      if (!store) return false;
      ProducerIds ids(**store, executor, fresh_ids());
      bool sound = true;
      for (int i = 0; i < 3; ++i) {
        bool answered = false;
        ids.allocate([&](Result<ProducerId> id) {
          answered = id.has_value();
          if (id) sound &= given.insert(id->value()).second;
        });
        executor.run_until([&] { return answered || on.powered_off(); });
      }
      EXPECT_TRUE(sound) << "an id was given twice";
      return sound;
    };
    allocate_some(disk, 1);
    for (const sim::CrashPolicy& policy :
         {sim::CrashPolicy::nothing(), sim::CrashPolicy::everything(),
          sim::CrashPolicy::random(point)}) {
      const std::set<std::int64_t> before = given;
      ASSERT_TRUE(allocate_some(*disk.crash_image(policy), 2)) << disk.stopped_by();
      given = before;
    }
    if (!disk.powered_off()) break;
  }
}

}  // namespace
}  // namespace tidelog::replication
