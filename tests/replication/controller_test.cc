#include "replication/controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "replication/local_store.h"
#include "replication/metadata_records.h"
#include "tests/replication/controller_fixture.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_metadata_store.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::SimDisk;
using sim::SimExecutor;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(ControllerTest, MakesATopicThatLeadsItsPartitions) {
  const auto topic = broker_.create("orders", 3);
  ASSERT_TRUE(topic);
  EXPECT_EQ((*topic)->partitions.size(), 3u);
  for (const PartitionView& partition : (*topic)->partitions) {
    EXPECT_EQ(partition.leader, kSelf);
    EXPECT_EQ(partition.leader_epoch, LeaderEpoch(0));
    EXPECT_THAT(partition.isr, ElementsAre(kSelf));
    EXPECT_GT(partition.revision, 0u);
  }
  EXPECT_TRUE(broker_.replicas_.contains((*topic)->id));
  EXPECT_EQ(broker_.find("orders"), topic->get());
  EXPECT_EQ(keys().size(), 5u);
}

TEST_F(ControllerTest, PublishesTheViewBeforeItAnswers) {
  const TopicView* seen = nullptr;
  broker_.controller_.create_topic({.name = "t", .settings = {}}, [&](Result<Topic> topic) {
    ASSERT_TRUE(topic);
    seen = broker_.views_.back()->find("t");
  });
  executor_.run_until_idle();
  EXPECT_NE(seen, nullptr);
}

TEST_F(ControllerTest, ShowsNoTopicBeforeItsReplicasAreMade) {
  Controller::TopicReady ready;
  broker_.controller_.on_create(
      [&](const Topic&, Controller::TopicReady done) { ready = std::move(done); });
  std::optional<Result<Topic>> answer;
  broker_.controller_.create_topic({.name = "t", .settings = {}},
                                   [&](Result<Topic> topic) { answer = std::move(topic); });
  executor_.run_until_idle();
  ASSERT_TRUE(ready);
  EXPECT_THAT(broker_.names(), IsEmpty());
  EXPECT_FALSE(answer);
  // Meanwhile the name is taken: whoever asks waits, and hears that the topic exists.
  std::optional<Result<Topic>> second;
  broker_.controller_.create_topic({.name = "t", .settings = {}},
                                   [&](Result<Topic> topic) { second = std::move(topic); });
  executor_.run_until_idle();
  EXPECT_FALSE(second);
  ready({});
  executor_.run_until_idle();
  EXPECT_TRUE(answer && *answer);
  ASSERT_TRUE(second);
  EXPECT_EQ(code(*second), ErrorCode::kTopicExists);
}

TEST_F(ControllerTest, RefusesTopicsThatCannotBe) {
  EXPECT_EQ(code(broker_.create("a/b")), ErrorCode::kInvalidTopicName);
  EXPECT_EQ(code(broker_.create("t", 0)), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(code(broker_.create("t", 10'001)), ErrorCode::kInvalidPartitions);
  NewTopic topic{.name = "t", .replication_factor = 2, .settings = {}};
  EXPECT_EQ(code(broker_.create(topic)), ErrorCode::kInvalidReplicationFactor);
  topic.replication_factor = 0;
  EXPECT_EQ(code(broker_.create(topic)), ErrorCode::kInvalidReplicationFactor);
  topic.replication_factor = 1;
  ASSERT_TRUE(topic.settings.set("min.insync.replicas", "2"));
  EXPECT_EQ(code(broker_.create(topic)), ErrorCode::kInvalidSetting);
  EXPECT_THAT(keys(), IsEmpty());
  ASSERT_TRUE(broker_.create("t"));
  EXPECT_EQ(code(broker_.create("t")), ErrorCode::kTopicExists);
}

TEST_F(ControllerTest, RefusesEverythingBeforeItHasStarted) {
  const auto other = restarted();
  EXPECT_EQ(code(other->create("t")), ErrorCode::kNotReady);
  EXPECT_EQ(code(other->remove("t")), ErrorCode::kNotReady);
}

TEST_F(ControllerTest, KeepsTheSettingsOfATopicOverARestart) {
  NewTopic topic{.name = "t", .partitions = 2, .settings = {}};
  ASSERT_TRUE(topic.settings.set("segment.bytes", "1MiB"));
  ASSERT_TRUE(broker_.create(topic));
  const auto again = restarted();
  ASSERT_TRUE(again->load());
  ASSERT_NE(again->find("t"), nullptr);
  EXPECT_EQ(again->find("t")->settings.log_settings().segment_bytes, 1u << 20);
  EXPECT_EQ(again->find("t")->id, broker_.find("t")->id);
}

TEST_F(ControllerTest, DeletesATopicWithAllItsKeys) {
  ASSERT_TRUE(broker_.create("t", 300));
  EXPECT_EQ(keys().size(), 302u);
  ASSERT_TRUE(broker_.remove("t"));
  EXPECT_THAT(broker_.names(), IsEmpty());
  EXPECT_THAT(broker_.replicas_, IsEmpty());
  EXPECT_THAT(keys(), IsEmpty());
  EXPECT_EQ(code(broker_.remove("t")), ErrorCode::kUnknownTopic);
}

TEST_F(ControllerTest, ATopicMadeAgainHasAnotherId) {
  const TopicId first = (*broker_.create("t"))->id;
  ASSERT_TRUE(broker_.remove("t"));
  const auto second = broker_.create("t");
  ASSERT_TRUE(second);
  EXPECT_NE((*second)->id, first);
}

TEST_F(ControllerTest, MakesAndRemovesManyTopicsSideBySide) {
  int answers = 0;
  for (int i = 0; i < 50; ++i) {
    broker_.controller_.create_topic(
        {.name = "t" + std::to_string(i), .partitions = 2, .settings = {}},
        [&](Result<Topic> topic) {
          EXPECT_TRUE(topic);
          ++answers;
        });
    broker_.controller_.delete_topic("t" + std::to_string(i), [&](Result<> gone) {
      EXPECT_TRUE(gone);
      ++answers;
    });
  }
  executor_.run_until_idle();
  EXPECT_EQ(answers, 100);
  EXPECT_THAT(keys(), IsEmpty());
}

TEST_F(ControllerTest, TakesBackATopicWhoseReplicasCannotBeMade) {
  broker_.make_fails_ = true;
  EXPECT_EQ(code(broker_.create("t", 200)), ErrorCode::kStorageFull);
  EXPECT_THAT(keys(), IsEmpty());
  EXPECT_THAT(broker_.dropped_, ElementsAre("t")) << "some replicas may have been made";
  broker_.make_fails_ = false;
  EXPECT_TRUE(broker_.create("t", 200));
}

// Each change of a name that ends lets the next one begin: not inside itself, or the stack would
// grow with the number of them.
TEST_F(ControllerTest, AnswersAnyNumberOfChangesThatWaitForOneName) {
  constexpr int kChanges = 200'000;
  int answers = 0;
  for (int i = 0; i < kChanges; ++i) {
    broker_.controller_.create_topic(NewTopic{.name = "t", .settings = {}},
                                     [&answers, first = i == 0](Result<Topic> made) {
                                       EXPECT_EQ(made.has_value(), first);
                                       ++answers;
                                     });
  }
  executor_.run_until_idle();
  EXPECT_EQ(answers, kChanges);
}

// The keys of a creation that failed may outlive it when the store has no space to remove them.
TEST_F(ControllerTest, TakesANameAgainThatAFailedCreationCouldNotGiveBack) {
  broker_.make_fails_ = true;
  store_.fail_commits(ErrorCode::kStorageFull, /*after=*/1);
  EXPECT_EQ(code(broker_.create("t", 3)), ErrorCode::kStorageFull);
  broker_.make_fails_ = false;
  EXPECT_EQ(code(broker_.create("t", 3)), ErrorCode::kStorageFull) << "there is no space yet";
  store_.fail_commits(std::nullopt);
  EXPECT_TRUE(broker_.create("t", 3));
  EXPECT_THAT(keys(), testing::SizeIs(5)) << "a name, a topic, three partitions";
}

TEST_F(ControllerTest, KeepsTheTombstoneWhileDataMayBeLeft) {
  ASSERT_TRUE(broker_.create("t", 2));
  broker_.drop_fails_ = true;
  EXPECT_EQ(code(broker_.remove("t")), ErrorCode::kStorageFailed);
  EXPECT_THAT(broker_.names(), IsEmpty());
  EXPECT_THAT(keys(), testing::SizeIs(3)) << "tombstone and two partitions";
  const auto again = restarted();
  again->drop_fails_ = true;
  EXPECT_EQ(code(again->start()), ErrorCode::kStorageFailed);
  const auto last = restarted();
  ASSERT_TRUE(last->start());
  EXPECT_THAT(last->dropped_, ElementsAre("t"));
  EXPECT_THAT(keys(), IsEmpty());
}

TEST_F(ControllerTest, NewEpochsRaiseEveryPartitionDurablyBeforeAnybodyLeads) {
  ASSERT_TRUE(broker_.create("a", 300));
  ASSERT_TRUE(broker_.create("b", 1));
  for (int restart = 1; restart <= 3; ++restart) {
    const auto again = restarted();
    ASSERT_TRUE(again->start(/*new_epochs=*/true));
    for (const auto& [name, topic] : again->controller_.view()->topics()) {
      for (std::size_t i = 0; i < topic->partitions.size(); ++i) {
        EXPECT_EQ(topic->partitions[i].leader_epoch, LeaderEpoch(restart));
        const auto stored = decode_partition(
            "", value_of(executor_, store_,
                         partition_key({topic->id, PartitionIndex(static_cast<std::int32_t>(i))})));
        EXPECT_EQ(stored->leader_epoch, LeaderEpoch(restart));
      }
    }
  }
  const auto clean = restarted();
  ASSERT_TRUE(clean->start(/*new_epochs=*/false));
  EXPECT_EQ(clean->find("b")->partitions[0].leader_epoch, LeaderEpoch(3));
}

TEST_F(ControllerTest, SettlesOutcomesThatTheStoreDoesNotKnow) {
  for (const bool applied : {true, false}) {
    store_.lose_next_answer(applied);
    const std::string name = applied ? "applied" : "lost";
    ASSERT_TRUE(broker_.create(name, 3));
    store_.lose_next_answer(applied);
    ASSERT_TRUE(broker_.remove(name));
    EXPECT_THAT(keys(), IsEmpty());
  }
}

TEST_F(ControllerTest, RefusesToStartOnMetadataThatIsNotWhole) {
  ASSERT_TRUE(broker_.create("t", 2));
  const std::string lost = partition_key({broker_.find("t")->id, PartitionIndex(1)});
  ASSERT_TRUE(commit(executor_, store_, {{}, {erase(lost)}}));
  const auto again = restarted();
  const auto started = again->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code(), ErrorCode::kCorruptData);
  EXPECT_THAT(started.error().message(), HasSubstr("lacks its partition 1"));
  EXPECT_THAT(again->dropped_, IsEmpty()) << "nothing is cleaned up on such ground";
}

TEST_F(ControllerTest, ACallbackThatOutlivesTheControllerDoesNothing) {
  Controller::TopicReady ready;
  auto other = restarted();
  ASSERT_TRUE(other->start());
  other->controller_.on_create(
      [&](const Topic&, Controller::TopicReady done) { ready = std::move(done); });
  bool answered = false;
  other->controller_.create_topic({.name = "late", .settings = {}},
                                  [&](Result<Topic>) { answered = true; });
  executor_.run_until_idle();
  ASSERT_TRUE(ready);
  other.reset();
  ready({});
  executor_.run_until_idle();
  EXPECT_FALSE(answered);
}

// ---- over the local store: crashes ----

// Three topics come, one goes and comes again; what was acknowledged is written down.
struct TopicHistory {
  std::map<std::string, TopicId> there;  // acknowledged and not touched since
  std::set<TopicId> gone;                // acknowledged deletions
  std::set<TopicId> replicas;            // as the disk of the broker would hold them

  void run(SimDisk& disk) {
    SimExecutor executor;
    auto opened = LocalStore::open(disk, executor, executor,
                                   {.path = "/data/metadata",
                                    .snapshot_log_bytes_min = 64 << 10,
                                    .random_id = counting_ids()});
    if (!opened) return;
    Broker broker(executor, **opened, counting_ids());
    const auto create = [&](const std::string& name, std::int32_t partitions) {
      const auto topic = broker.create(name, partitions);
      if (topic) there[name] = (*topic)->id;
      return topic.has_value();
    };
    const auto remove = [&](const std::string& name) {
      const TopicId id = there.at(name);
      there.erase(name);
      if (!broker.remove(name)) return false;
      gone.insert(id);
      return true;
    };
    if (broker.start() && create("a", 300) && create("b", 1) && remove("a") && create("a", 130)) {
      executor.run_until_idle();
    }
    replicas = broker.replicas_;
  }
};

void check_after_crash(SimDisk& disk, const TopicHistory& history, const std::string& where) {
  SimExecutor executor;
  auto opened = LocalStore::open(disk, executor, executor,
                                 {.path = "/data/metadata", .random_id = [ids = counting_ids()] {
                                    return ids() + 1'000'000;
                                  }});
  ASSERT_TRUE(opened) << where << ": " << opened.error().message();
  LocalStore& store = **opened;
  Broker broker(executor, store, [ids = counting_ids()] { return ids() + 1'000'000; });
  broker.replicas_ = history.replicas;
  const auto started = broker.start(/*new_epochs=*/true);
  ASSERT_TRUE(started) << where << ": " << started.error().message();
  executor.run_until_idle();
  for (const auto& [name, id] : history.there) {
    ASSERT_NE(broker.find(name), nullptr) << where << ": lost topic " << name;
    EXPECT_EQ(broker.find(name)->id, id) << where;
  }
  std::size_t keys_expected = 0;
  for (const auto& [name, topic] : broker.controller_.view()->topics()) {
    EXPECT_FALSE(history.gone.contains(topic->id)) << where << ": a deleted topic came back";
    EXPECT_TRUE(broker.replicas_.contains(topic->id)) << where << ": ready without replicas";
    for (const PartitionView& partition : topic->partitions) {
      EXPECT_EQ(partition.leader_epoch, LeaderEpoch(1)) << where;
    }
    keys_expected += 2 + topic->partitions.size();
  }
  EXPECT_EQ(broker.replicas_.size(), broker.controller_.view()->topics().size())
      << where << ": replicas without a topic";
  EXPECT_EQ(list(executor, store, "")->entries.size(), keys_expected) << where << ": leftover keys";
  EXPECT_TRUE(broker.create("next", 2)) << where;
}

TEST(ControllerCrashTest, FindsOrRemovesEveryTopicWhereverTheCrashComes) {
  std::uint64_t crashes = 0;
  for (std::uint64_t point = 1;; ++point) {
    SimDisk disk;
    disk.stop_at(point);
    TopicHistory history;
    history.run(disk);
    for (const CrashPolicy& policy : disk.crash_policies(2, point)) {
      const auto found = disk.crash_image(policy);
      check_after_crash(*found, history, disk.stopped_by() + ", " + policy.to_string());
      ++crashes;
      if (testing::Test::HasFailure()) return;
    }
    if (!disk.powered_off()) break;
  }
  EXPECT_GT(crashes, 100u);
}

TEST(ControllerScaleTest, TenThousandPartitionsTakeFewSyncs) {
  SimDisk disk;
  SimExecutor executor;
  auto opened = LocalStore::open(disk, executor, executor,
                                 {.path = "/data/metadata", .random_id = counting_ids()});
  ASSERT_TRUE(opened);
  std::uint64_t points = 0;
  {
    Broker broker(executor, **opened, counting_ids());
    ASSERT_TRUE(broker.start());
    const std::uint64_t before = disk.points();
    ASSERT_TRUE(broker.create("t", 10'000));
    executor.run_until_idle();
    points = disk.points() - before;
  }
  EXPECT_LE(points, 60u);
  Broker again(executor, **opened, counting_ids());
  const std::uint64_t before = disk.points();
  ASSERT_TRUE(again.start(/*new_epochs=*/true));
  executor.run_until_idle();
  EXPECT_LE(disk.points() - before, 60u);
  EXPECT_EQ(again.find("t")->partitions[9'999].leader_epoch, LeaderEpoch(1));
}

}  // namespace
}  // namespace tidelog::replication
