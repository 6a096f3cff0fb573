// Decides about topics and leadership, by transactions on the metadata store. With a local store
// the one broker is always its own controller.
//
// Keys (REPLICATION.md): /n/<name> topic id; /t/<topic id> settings and state; /p/<topic id>/<n>
// replicas, isr, leader, leader_epoch. A topic of any size comes and goes as one: CREATING (its
// keys are being written, its replicas made) -> READY (clients see it) -> DELETED (tombstone; its
// data and keys go) -> no key. A crash in CREATING or DELETED is cleaned up by the next start().
//
// Changes of distinct topics run side by side; those of one name one after another. The outcome of
// a transaction that the store does not know is settled by looking for its nonce and writing it
// again under the same compares (R12). Thread: the executor's (the broker's control thread).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "base/ids.h"
#include "base/result.h"
#include "replication/cluster_view.h"
#include "replication/metadata_store.h"

namespace tidelog::replication {

struct NewTopic {
  std::string name;
  std::int32_t partitions = 1;
  std::int32_t replication_factor = -1;  // -1: the broker's default
  TopicSettings settings{};
};

class Controller {
 public:
  // Called with every new view, before the callback of the change that made it.
  using ViewListener = std::function<void(std::shared_ptr<const ClusterView>)>;

  // `random` names topics, replicas and transactions; null: random_id(). Store and executor outlive
  // the controller.
  Controller(MetadataStore& store, Executor& executor, BrokerId self, ViewListener listener,
             std::function<std::uint64_t()> random = nullptr);
  // Callbacks that did not run yet never do.
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  using DoneCallback = std::move_only_function<void(Result<>)>;
  // Reads everything and publishes the first view, of the topics that are READY; changes nothing.
  // For those who need the topics before start() can run, such as the settings of the logs to
  // recover. start() does it where nobody did. Fails with kCorruptData: a value cannot be read, or
  // keys that belong together are missing. Nothing is ever cleaned up on such ground.
  void load(DoneCallback done);

  // With `new_epochs` (a restart) each partition this broker
  // leads gets leader_epoch + 1, durably, before `done`: records that were appended and lost must
  // not share (epoch, offset) with new ones. Topics left in state CREATING or DELETED by a crash
  // are finished or removed.
  void start(bool new_epochs, DoneCallback done);

  // Where topics come to life: told to make (or find) the replicas of a topic on this broker, it
  // answers when they can take writes. Set before start().
  using TopicReady = std::move_only_function<void(Result<>)>;
  void on_create(std::function<void(std::shared_ptr<const TopicView>, TopicReady)> make_replicas);
  // The same for deletion: data may go, the tombstone is durable. Of a creation that a crash or
  // error interrupted, replicas may never have been made.
  void on_delete(std::function<void(std::shared_ptr<const TopicView>, TopicReady)> drop_replicas);
  // Where replicas that exist hear of new settings and of new partitions beside them.
  void on_alter(std::function<void(std::shared_ptr<const TopicView>, TopicReady)> apply_topic);

  using CreateCallback = std::move_only_function<void(Result<std::shared_ptr<const TopicView>>)>;
  // Succeeds once every partition can take writes. Fails with kTopicExists, kInvalidTopicName,
  // kInvalidPartitions, kInvalidReplicationFactor, kInvalidSetting, kStorageFailed.
  void create_topic(NewTopic topic, CreateCallback done);
  // Names of settings and their new values; nullopt: the default again.
  using SettingChanges = std::vector<std::pair<std::string, std::optional<std::string>>>;
  // Succeeds once the settings are durable and every replica follows them; all of them or none.
  // Fails with kUnknownTopic, kInvalidSetting.
  void alter_topic(std::string name, SettingChanges changes, DoneCallback done);
  // Gives the topic partitions until it has `total`; succeeds once they can take writes. What a
  // crash or error interrupts, the next start or the next call finishes; what only misses space
  // goes on by itself every few seconds, as the error's sentence says. Fails with kUnknownTopic,
  // kInvalidPartitions (fewer than there are or were asked for, or too many), kStorageFailed,
  // kStorageFull.
  void add_partitions(std::string name, std::int32_t total, DoneCallback done);
  // Succeeds once the tombstone is durable and no partition serves any more. Fails with
  // kUnknownTopic.
  void delete_topic(std::string name, DoneCallback done);

  std::shared_ptr<const ClusterView> view() const;

 private:
  class State;
  std::shared_ptr<State> state_;
  Executor& executor_;
};

}  // namespace tidelog::replication
