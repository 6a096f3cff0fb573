// How a topic's settings and the number of its partitions change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "replication/local_store.h"
#include "tests/replication/controller_fixture.h"
#include "tests/sim/sim_disk.h"

namespace tidelog::replication {
namespace {

using sim::CrashPolicy;
using sim::SimDisk;
using sim::SimExecutor;
using testing::HasSubstr;

class TopicAlterationsTest : public ControllerTest {
 protected:
  std::string value(const std::string& topic, const std::string& setting) {
    return std::string(broker_.find(topic)->settings.value(setting));
  }
};

TEST_F(TopicAlterationsTest, SettingsChangeAndEveryReplicaHearsOfIt) {
  ASSERT_TRUE(broker_.create("t", 3));
  ASSERT_TRUE(broker_.alter("t", {{"retention.ms", "60000"}, {"segment.bytes", "1MiB"}}));
  EXPECT_EQ(value("t", "retention.ms"), "60000");
  EXPECT_EQ(value("t", "segment.bytes"), "1048576");
  ASSERT_TRUE(broker_.applied_.contains("t"));
  EXPECT_EQ(broker_.applied_["t"]->settings.log_settings().retention_ms, 60000);
  ASSERT_TRUE(broker_.alter("t", {{"retention.ms", std::nullopt}}));
  EXPECT_EQ(value("t", "retention.ms"), "604800000");
  EXPECT_EQ(value("t", "segment.bytes"), "1048576");
  const auto other = restarted();
  ASSERT_TRUE(other->start());
  EXPECT_EQ(other->find("t")->settings.value("segment.bytes"), "1048576") << "it is durable";
}

TEST_F(TopicAlterationsTest, OneBadSettingChangesNone) {
  ASSERT_TRUE(broker_.create("t"));
  for (const Controller::SettingChanges& changes :
       {Controller::SettingChanges{{"retention.ms", "60000"}, {"retention.mss", "1"}},
        Controller::SettingChanges{{"retention.ms", "60000"}, {"retention.bytes", "-2"}},
        Controller::SettingChanges{{"retention.ms", "60000"}, {"segment.mss", std::nullopt}},
        Controller::SettingChanges{{"retention.ms", "60000"}, {"min.insync.replicas", "2"}}}) {
    const auto refused = broker_.alter("t", changes);
    EXPECT_EQ(code(refused), ErrorCode::kInvalidSetting);
    EXPECT_EQ(value("t", "retention.ms"), "604800000");
  }
  EXPECT_EQ(code(broker_.alter("nowhere", {{"retention.ms", "1"}})), ErrorCode::kUnknownTopic);
}

TEST_F(TopicAlterationsTest, PartitionsAreAddedBehindTheOnesThatAreThere) {
  const auto before = broker_.create("t", 2);
  ASSERT_TRUE(before);
  ASSERT_TRUE(broker_.add_partitions("t", 300));
  const TopicView* topic = broker_.find("t");
  ASSERT_EQ(topic->partitions.size(), 300U);
  EXPECT_EQ(topic->id, (*before)->id);
  EXPECT_EQ(topic->partitions[1].revision, (*before)->partitions[1].revision) << "untouched";
  EXPECT_EQ(topic->partitions[299].leader, kSelf);
  EXPECT_EQ(broker_.made_partitions_[topic->id], 300U);
  EXPECT_EQ(keys().size(), 302U);
  ASSERT_TRUE(broker_.add_partitions("t", 300)) << "as many as there are";
  ASSERT_TRUE(broker_.remove("t"));
  EXPECT_EQ(keys().size(), 0U);
}

TEST_F(TopicAlterationsTest, PartitionsAreNeverRemoved) {
  ASSERT_TRUE(broker_.create("t", 4));
  const auto refused = broker_.add_partitions("t", 3);
  ASSERT_EQ(code(refused), ErrorCode::kInvalidPartitions);
  EXPECT_THAT(refused.error().message(), HasSubstr("has 4 partitions"));
  EXPECT_EQ(code(broker_.add_partitions("t", 10'001)), ErrorCode::kInvalidPartitions);
  EXPECT_EQ(code(broker_.add_partitions("nowhere", 3)), ErrorCode::kUnknownTopic);
  EXPECT_EQ(broker_.find("t")->partitions.size(), 4U);
}

TEST_F(TopicAlterationsTest, NobodySeesPartitionsBeforeTheirReplicasAreMade) {
  ASSERT_TRUE(broker_.create("t", 1));
  broker_.make_fails_ = true;
  EXPECT_EQ(code(broker_.add_partitions("t", 3)), ErrorCode::kStorageFull);
  EXPECT_EQ(broker_.find("t")->partitions.size(), 1U);
  broker_.make_fails_ = false;
  EXPECT_EQ(code(broker_.add_partitions("t", 2)), ErrorCode::kInvalidPartitions)
      << "three were begun";
  ASSERT_TRUE(broker_.add_partitions("t", 3)) << "it goes on where it ended";
  EXPECT_EQ(broker_.find("t")->partitions.size(), 3U);
  EXPECT_EQ(keys().size(), 5U);
}

TEST_F(TopicAlterationsTest, AGrowthThatMissedSpaceSaysSoAndGoesOnWhenThereIsSome) {
  ASSERT_TRUE(broker_.create("t", 1));
  broker_.make_fails_ = true;
  for (int i = 0; i < 3; ++i) {
    const auto refused = broker_.add_partitions("t", 3);
    ASSERT_EQ(code(refused), ErrorCode::kStorageFull);
    EXPECT_THAT(refused.error().message(), HasSubstr("'t' gets its 3 partitions as soon as"));
  }
  EXPECT_TRUE(broker_.add_partitions("t", 1)) << "as many as it has";
  executor_.run_for(std::chrono::seconds(12));
  EXPECT_EQ(broker_.find("t")->partitions.size(), 1U);
  broker_.make_fails_ = false;
  executor_.run_for(std::chrono::seconds(6));
  EXPECT_EQ(broker_.find("t")->partitions.size(), 3U);
  EXPECT_EQ(broker_.made_partitions_[broker_.find("t")->id], 3U);
  EXPECT_EQ(keys().size(), 5U);
}

TEST_F(TopicAlterationsTest, AGrowthThatMissedSpaceDoesNotGoOnInATopicOfTheSameName) {
  ASSERT_TRUE(broker_.create("t", 1));
  broker_.make_fails_ = true;
  ASSERT_FALSE(broker_.add_partitions("t", 3));
  broker_.make_fails_ = false;
  ASSERT_TRUE(broker_.remove("t"));
  ASSERT_TRUE(broker_.create("t", 1));
  executor_.run_for(std::chrono::seconds(12));
  EXPECT_EQ(broker_.find("t")->partitions.size(), 1U);
}

TEST_F(TopicAlterationsTest, AGrowthThatDidNotEndDoesNotKeepTheTopicFromBeingDeleted) {
  const auto topic = broker_.create("t", 1);
  ASSERT_TRUE(topic);
  broker_.make_fails_ = true;
  ASSERT_FALSE(broker_.add_partitions("t", 3));
  broker_.make_fails_ = false;
  ASSERT_TRUE(broker_.remove("t"));
  EXPECT_EQ(keys().size(), 0U);
}

TEST(TopicAlterationsCrashTest, AChangeIsThereOrNotAndAGrowthIsFinished) {
  std::uint64_t crashes = 0;
  for (std::uint64_t point = 1;; ++point) {
    SimDisk disk;
    bool grown = false;
    bool altered = false;
    bool made = false;
    {
      SimExecutor executor;
      disk.stop_at(point);
      auto store = LocalStore::open(disk, executor, executor,
                                    {.path = "/data/metadata", .random_id = counting_ids()});
      if (store) {
        Broker broker(executor, **store, counting_ids());
        made = broker.start() && broker.create("t", 2).has_value();
        altered = made && broker.alter("t", {{"retention.ms", "5000"}}).has_value();
        grown = altered && broker.add_partitions("t", 200).has_value();
      }
    }
    for (const CrashPolicy& policy : disk.crash_policies(2, point)) {
      const auto found = disk.crash_image(policy);
      SimExecutor executor;
      const auto ids = [next = counting_ids()] { return next() + 1'000'000; };
      auto store = LocalStore::open(*found, executor, executor,
                                    {.path = "/data/metadata", .random_id = ids});
      ASSERT_TRUE(store) << disk.stopped_by();
      Broker broker(executor, **store, ids);
      ASSERT_TRUE(broker.start(/*new_epochs=*/true)) << disk.stopped_by();
      executor.run_until_idle();
      const TopicView* topic = broker.find("t");
      ASSERT_TRUE(topic != nullptr || !made) << disk.stopped_by();
      if (topic == nullptr) continue;
      ++crashes;
      const std::size_t partitions = topic->partitions.size();
      ASSERT_TRUE(partitions == 200 || (partitions == 2 && !grown)) << disk.stopped_by();
      ASSERT_TRUE(!altered || topic->settings.value("retention.ms") == "5000") << disk.stopped_by();
      ASSERT_EQ(list(executor, **store, "")->entries.size(), partitions + 2)
          << disk.stopped_by() << ": something is left";
      ASSERT_TRUE(broker.add_partitions("t", 201)) << disk.stopped_by();
    }
    if (!disk.powered_off()) break;
  }
  EXPECT_GT(crashes, 20U);
}

}  // namespace
}  // namespace tidelog::replication
