// A controller, the broker beneath it as far as a controller sees it, and a store in memory.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "replication/controller.h"
#include "tests/replication/store_world.h"
#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_metadata_store.h"

namespace tidelog::replication {

inline constexpr BrokerId kSelf{0};

using Topic = std::shared_ptr<const TopicView>;

// A controller over any store, and the broker beneath it as far as it can be seen: which topics
// have replicas.
class Broker {
 public:
  Broker(sim::SimExecutor& executor, MetadataStore& store, std::function<std::uint64_t()> random)
      : executor_(executor),
        controller_(
            store, executor, kSelf,
            [this](std::shared_ptr<const ClusterView> view) { views_.push_back(std::move(view)); },
            std::move(random)) {
    controller_.on_create([this](const Topic& topic, Controller::TopicReady ready) {
      made_.insert(topic->name);
      if (make_fails_) return ready(fail(ErrorCode::kStorageFull, "no space for replicas"));
      replicas_.insert(topic->id);
      made_partitions_[topic->id] = topic->partitions.size();
      ready({});
    });
    controller_.on_delete([this](const Topic& topic, Controller::TopicReady ready) {
      dropped_.insert(topic->name);
      if (drop_fails_) return ready(fail(ErrorCode::kStorageFailed, "cannot unlink"));
      replicas_.erase(topic->id);
      ready({});
    });
    controller_.on_alter([this](const Topic& topic, Controller::TopicReady ready) {
      applied_[topic->name] = topic;
      ready({});
    });
  }

  Result<> start(bool new_epochs = false) {
    return answer_of<void>(executor_,
                           [&](auto done) { controller_.start(new_epochs, std::move(done)); });
  }
  Result<> load() {
    return answer_of<void>(executor_, [&](auto done) { controller_.load(std::move(done)); });
  }
  Result<Topic> create(const std::string& name, std::int32_t partitions = 1) {
    return create(NewTopic{.name = name, .partitions = partitions, .settings = {}});
  }
  Result<Topic> create(NewTopic topic) {
    return answer_of<Topic>(
        executor_, [&](auto done) { controller_.create_topic(std::move(topic), std::move(done)); });
  }
  Result<> alter(const std::string& name, Controller::SettingChanges changes) {
    return answer_of<void>(executor_, [&](auto done) {
      controller_.alter_topic(name, std::move(changes), std::move(done));
    });
  }
  Result<> add_partitions(const std::string& name, std::int32_t total) {
    return answer_of<void>(
        executor_, [&](auto done) { controller_.add_partitions(name, total, std::move(done)); });
  }
  Result<> remove(const std::string& name) {
    return answer_of<void>(executor_,
                           [&](auto done) { controller_.delete_topic(name, std::move(done)); });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, topic] : controller_.view()->topics()) names.push_back(name);
    return names;
  }
  const TopicView* find(const std::string& name) const { return controller_.view()->find(name); }

  sim::SimExecutor& executor_;
  std::vector<std::shared_ptr<const ClusterView>> views_;
  std::set<TopicId> replicas_;
  std::set<std::string> made_;
  std::set<std::string> dropped_;
  std::map<std::string, Topic> applied_;
  std::map<TopicId, std::size_t> made_partitions_;
  bool make_fails_ = false;
  bool drop_fails_ = false;
  Controller controller_;
};

class ControllerTest : public testing::Test {
 protected:
  ControllerTest() { EXPECT_TRUE(broker_.start()); }

  std::vector<std::string> keys() {
    executor_.run_until_idle();
    std::vector<std::string> names;
    for (const KeyValue& entry : list(executor_, store_, "")->entries) names.push_back(entry.key);
    return names;
  }
  // The broker goes and comes back over the same store.
  std::unique_ptr<Broker> restarted() { return std::make_unique<Broker>(executor_, store_, ids_); }
  static ErrorCode code(const auto& result) {
    return result ? ErrorCode::kOk : result.error().code();
  }

  sim::SimExecutor executor_;
  sim::SimMetadata service_{executor_};
  sim::SimMetadataStore store_{service_, executor_};
  std::uint64_t last_id_ = 0;
  std::function<std::uint64_t()> ids_ = [this] { return ++last_id_; };
  Broker broker_{executor_, store_, ids_};
};

}  // namespace tidelog::replication
