// The inside of Controller. controller.cc starts it, topic_changes.cc creates and deletes topics,
// topic_alterations.cc changes them.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "replication/controller.h"
#include "replication/metadata_image.h"
#include "replication/metadata_records.h"
#include "replication/settled_commit.h"

namespace tidelog::replication {

// Runs `done` with the first error of several steps, when all have ended.
class Gathering {
 public:
  explicit Gathering(Controller::DoneCallback done) : done_(std::move(done)) {}
  ~Gathering() {
    // A step that was dropped (its store or controller went) never answered: then nobody is told.
    if (ended_ == begun_) done_(error_ ? fail(*error_) : Result<>());
  }
  Gathering(const Gathering&) = delete;
  Gathering& operator=(const Gathering&) = delete;

  void begin() { ++begun_; }
  void end(const Result<>& result) {
    ++ended_;
    if (!result && !error_) error_ = result.error();
  }

 private:
  Controller::DoneCallback done_;
  std::size_t begun_ = 0;
  std::size_t ended_ = 0;
  std::optional<Error> error_;
};

inline Error changed_meanwhile(const std::string& key) {
  return {ErrorCode::kConflict, fmt::format("metadata key {} was changed by somebody else", key)};
}

// Topics and what happens to them; its callbacks do nothing once it is gone.
class Controller::State : public std::enable_shared_from_this<Controller::State> {
 public:
  using MakeReplicas = std::function<void(std::shared_ptr<const TopicView>, TopicReady)>;

  State(MetadataStore& store, Executor& executor, BrokerId self, ViewListener listener,
        std::function<std::uint64_t()> random)
      : store_(store),
        executor_(executor),
        self_(self),
        listener_(std::move(listener)),
        random_(std::move(random)) {}

  void load(DoneCallback done);
  void start(bool new_epochs, DoneCallback done);
  void create_topic(NewTopic topic, CreateCallback done);
  void delete_topic(const std::string& name, DoneCallback done);
  void alter_topic(const std::string& name, const SettingChanges& changes, DoneCallback done);
  void add_partitions(const std::string& name, std::int32_t total, DoneCallback done);

  MakeReplicas make_replicas;
  MakeReplicas drop_replicas;
  MakeReplicas apply_topic;
  std::shared_ptr<const ClusterView> view = std::make_shared<ClusterView>();

  // Wraps a callback so that it does nothing once the controller is gone.
  template <typename Function>
  auto guarded(Function function) {
    return [weak = weak_from_this(), function = std::move(function)](auto&&... arguments) mutable {
      if (const auto state = weak.lock()) {
        function(*state, std::forward<decltype(arguments)>(arguments)...);
      }
    };
  }

 private:
  // One topic on its way from nothing to READY.
  struct Creation {
    StoredTopic topic;
    CreateCallback done;
  };
  using CreationPtr = std::shared_ptr<Creation>;

  void loaded(MetadataImage image);
  void started(bool new_epochs, DoneCallback done);
  void finish_growths();
  void raise_epochs(const std::shared_ptr<Gathering>& all);
  void raise_epochs_of(std::span<StoredPartition* const> partitions,
                       std::span<const std::string> keys, const std::shared_ptr<Gathering>& all);

  Result<> check_new(const NewTopic& topic) const;
  Result<> check_settings(const std::string& name, const TopicSettings& settings) const;
  PartitionRecord new_partition(const TopicSettings& settings);
  StoredTopic lay_out(NewTopic topic);
  void begin_creation(const CreationPtr& creation);
  void write_partitions(const CreationPtr& creation);
  void make_ready(const CreationPtr& creation);
  void finish_creation(const CreationPtr& creation);
  void abandon_creation(const CreationPtr& creation, Error why);
  void take_back(const std::shared_ptr<StoredTopic>& topic, DoneCallback done);

  // Runs `change` on a copy of the topic when no other change of it is under way.
  void with_topic(const std::string& name, DoneCallback done,
                  std::move_only_function<void(std::shared_ptr<StoredTopic>, DoneCallback)> change);
  // Writes the topic's own key; the image follows.
  void commit_topic(const std::shared_ptr<StoredTopic>& topic, DoneCallback done);
  // Publishes the topic and lets its replicas know.
  void show(const std::shared_ptr<StoredTopic>& topic, DoneCallback done);
  // Goes on from `growing_to`, durable, wherever an earlier attempt ended.
  void grow(const std::shared_ptr<StoredTopic>& topic, DoneCallback done);
  void write_new_partitions(const std::shared_ptr<StoredTopic>& topic,
                            std::vector<std::size_t> indexes,
                            const std::shared_ptr<Gathering>& all);
  void finish_growth(const std::shared_ptr<StoredTopic>& topic, DoneCallback done);

  // What a growth that was begun answers when it cannot end now. For want of space, or of file
  // descriptors, it goes on by itself after a while.
  Result<> grow_later(const StoredTopic& topic, std::int32_t total, const Error& why);
  // Does what is left of a growth, for nobody who waits.
  void go_on_growing(const TopicId& id);

  // Tombstone, data, then (behind `done`) the keys.
  void remove_topic(std::shared_ptr<StoredTopic> topic, DoneCallback done);
  void drop_data(const std::shared_ptr<StoredTopic>& topic, DoneCallback done);
  void remove_keys(const std::shared_ptr<StoredTopic>& topic);

  void commit(Transaction transaction, MetadataStore::Callback<TransactionResult> done) {
    commit_settled(store_, executor_, weak_from_this(), std::move(transaction), std::move(done));
  }
  // Runs `change` when no other change of that name is under way.
  void with_name(const std::string& name, Task change);
  void release_name(const std::string& name);
  void publish(const std::function<void(ClusterView&)>& change);
  std::string nonce() { return fmt::format("{:016x}", random_()); }

  MetadataStore& store_;
  Executor& executor_;
  const BrokerId self_;
  const ViewListener listener_;
  const std::function<std::uint64_t()> random_;
  bool loaded_ = false;
  bool started_ = false;
  MetadataImage image_;
  std::set<TopicId> growing_later_;
  // Creations that failed and whose keys the store did not let go.
  std::map<std::string, std::shared_ptr<StoredTopic>, std::less<>> half_made_;
  // Names with a change under way, and what waits behind it.
  std::map<std::string, std::deque<Task>, std::less<>> busy_;
};

}  // namespace tidelog::replication
