#include "replication/controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "replication/metadata_image.h"
#include "replication/metadata_records.h"
#include "replication/settled_commit.h"
#include "wire/limits.h"

namespace tidelog::replication {
namespace {

using MakeReplicas = std::function<void(std::shared_ptr<const TopicView>, Controller::TopicReady)>;

// Beside the topic's own two keys, in the transaction that begins a creation.
constexpr std::size_t kFirstPartitionsMax = kOperationsPerTransactionMax - 2;

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

Error changed_meanwhile(const std::string& key) {
  return {ErrorCode::kConflict, fmt::format("metadata key {} was changed by somebody else", key)};
}

}  // namespace

class Controller::State : public std::enable_shared_from_this<Controller::State> {
 public:
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

  MakeReplicas make_replicas;
  MakeReplicas drop_replicas;
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
  void raise_epochs(const std::shared_ptr<Gathering>& all);
  void raise_epochs_of(std::span<StoredPartition* const> partitions,
                       std::span<const std::string> keys, const std::shared_ptr<Gathering>& all);

  Result<> check_new(const NewTopic& topic) const;
  StoredTopic lay_out(NewTopic topic);
  void begin_creation(const CreationPtr& creation);
  void write_partitions(const CreationPtr& creation);
  void make_ready(const CreationPtr& creation);
  void finish_creation(const CreationPtr& creation);
  void abandon_creation(const CreationPtr& creation, Error why);

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
  // Names with a change under way, and what waits behind it.
  std::map<std::string, std::deque<Task>, std::less<>> busy_;
};

void Controller::State::publish(const std::function<void(ClusterView&)>& change) {
  auto next = std::make_shared<ClusterView>(*view);
  change(*next);
  view = std::move(next);
  if (listener_) listener_(view);
}

void Controller::State::with_name(const std::string& name, Task change) {
  const auto [at, is_free] = busy_.try_emplace(name);
  if (is_free) {
    change();
  } else {
    at->second.push_back(std::move(change));
  }
}

void Controller::State::release_name(const std::string& name) {
  const auto at = busy_.find(name);
  TIDELOG_CHECK(at != busy_.end(), "a name is released by the change that held it");
  if (at->second.empty()) {
    busy_.erase(at);
    return;
  }
  Task next = std::move(at->second.front());
  at->second.pop_front();
  next();
}

// ---- start ----

void Controller::State::load(DoneCallback done) {
  struct Listings {
    std::vector<KeyValue> names, topics, partitions;
  };
  auto listings = std::make_shared<Listings>();
  auto all = std::make_shared<Gathering>(
      [weak = weak_from_this(), listings, done = std::move(done)](Result<> result) mutable {
        const auto state = weak.lock();
        if (!state) return;
        if (!result) return done(std::move(result));
        auto image = read_image(listings->names, listings->topics, listings->partitions);
        if (!image) return done(fail(std::move(image).error()));
        state->loaded(std::move(*image));
        done({});
      });
  const auto list = [&](std::string_view prefix, std::vector<KeyValue>& into) {
    all->begin();
    store_.list(std::string(prefix), 0,
                [all, listings, &into](Result<MetadataStore::Listing> listing) {
                  if (listing) into = std::move(listing->entries);
                  all->end(listing ? Result<>() : fail(listing.error()));
                });
  };
  list(kNamePrefix, listings->names);
  list(kTopicPrefix, listings->topics);
  list(kPartitionPrefix, listings->partitions);
}

void Controller::State::loaded(MetadataImage image) {
  image_ = std::move(image);
  loaded_ = true;
  publish([this](ClusterView& next) {
    for (const auto& [id, topic] : image_) {
      if (topic.record.state == TopicState::kReady) next.insert(view_of(topic));
    }
  });
}

void Controller::State::start(bool new_epochs, DoneCallback done) {
  if (loaded_) return started(new_epochs, std::move(done));
  load([this, new_epochs, done = std::move(done)](Result<> result) mutable {
    if (!result) return done(std::move(result));
    started(new_epochs, std::move(done));
  });
}

void Controller::State::started(bool new_epochs, DoneCallback done) {
  auto all = std::make_shared<Gathering>(
      [weak = weak_from_this(), new_epochs, done = std::move(done)](Result<> result) mutable {
        const auto state = weak.lock();
        if (!state) return;
        state->started_ = result.has_value();
        if (new_epochs && result) {
          state->publish([&state](ClusterView& next) {
            for (const auto& [id, topic] : state->image_) {
              if (topic.record.state == TopicState::kReady) next.insert(view_of(topic));
            }
          });
        }
        done(std::move(result));
      });
  if (new_epochs) raise_epochs(all);
  std::vector<std::shared_ptr<StoredTopic>> leftovers;
  for (const auto& [id, topic] : image_) {
    if (topic.record.state != TopicState::kReady) {
      leftovers.push_back(std::make_shared<StoredTopic>(topic));
    }
  }
  std::ranges::sort(leftovers, {}, [](const auto& topic) { return topic->id; });
  for (const auto& topic : leftovers) {
    all->begin();
    const auto ended = [all](Result<> result) { all->end(result); };
    if (topic->record.state == TopicState::kCreating) {
      remove_topic(topic, ended);
    } else {
      drop_data(topic, ended);
    }
  }
}

void Controller::State::raise_epochs(const std::shared_ptr<Gathering>& all) {
  std::vector<TopicId> ids;
  for (const auto& [id, topic] : image_) {
    if (topic.record.state == TopicState::kReady) ids.push_back(id);
  }
  std::ranges::sort(ids);
  std::vector<StoredPartition*> partitions;
  std::vector<std::string> keys;
  for (const TopicId& id : ids) {
    StoredTopic& topic = image_.at(id);
    for (std::size_t i = 0; i < topic.partitions.size(); ++i) {
      if (topic.partitions[i].record.leader != self_) continue;
      partitions.push_back(&topic.partitions[i]);
      keys.push_back(partition_key({id, PartitionIndex(static_cast<std::int32_t>(i))}));
    }
  }
  for (std::size_t at = 0; at < partitions.size(); at += kOperationsPerTransactionMax) {
    const std::size_t count = std::min(kOperationsPerTransactionMax, partitions.size() - at);
    raise_epochs_of(std::span(partitions).subspan(at, count), std::span(keys).subspan(at, count),
                    all);
  }
}

void Controller::State::raise_epochs_of(std::span<StoredPartition* const> partitions,
                                        std::span<const std::string> keys,
                                        const std::shared_ptr<Gathering>& all) {
  Transaction transaction;
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    PartitionRecord& record = partitions[i]->record;
    record.leader_epoch = LeaderEpoch(record.leader_epoch.value() + 1);
    record.nonce = nonce();
    transaction.compares.push_back({keys[i], partitions[i]->revision});
    transaction.operations.push_back({keys[i], encode(record), 0});
  }
  all->begin();
  commit(std::move(transaction),
         [all, changed = std::vector<StoredPartition*>(partitions.begin(), partitions.end()),
          key = keys.front()](Result<TransactionResult> result) {
           if (!result) return all->end(fail(result.error()));
           if (!result->succeeded) return all->end(fail(changed_meanwhile(key)));
           for (StoredPartition* partition : changed) partition->revision = result->revision;
           all->end({});
         });
}

// ---- create ----

Result<> Controller::State::check_new(const NewTopic& topic) const {
  TIDELOG_TRY(check_topic_name(topic.name));
  if (topic.partitions < 1 || topic.partitions > wire::kPartitionsPerTopicMax) {
    return fail(ErrorCode::kInvalidPartitions,
                fmt::format("topic '{}' cannot have {} partitions; 1 to {} are allowed", topic.name,
                            topic.partitions, wire::kPartitionsPerTopicMax));
  }
  if (topic.replication_factor != -1 && topic.replication_factor != 1) {
    return fail(ErrorCode::kInvalidReplicationFactor,
                fmt::format("topic '{}' cannot have {} replicas; this cluster has 1 broker",
                            topic.name, topic.replication_factor));
  }
  if (topic.settings.min_insync_replicas() > 1) {
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("min.insync.replicas of topic '{}' is {}, but it has 1 replica",
                            topic.name, topic.settings.min_insync_replicas()));
  }
  return {};
}

void Controller::State::create_topic(NewTopic topic, CreateCallback done) {
  if (!started_) {
    return done(fail(ErrorCode::kNotReady, "the controller has not read the metadata yet"));
  }
  if (auto sound = check_new(topic); !sound) return done(fail(std::move(sound).error()));
  const std::string name = topic.name;
  with_name(name, [this, topic = std::move(topic), done = std::move(done)]() mutable {
    if (view->find(topic.name) != nullptr) {
      const std::string taken = topic.name;
      done(fail(ErrorCode::kTopicExists, fmt::format("topic '{}' exists", taken)));
      return release_name(taken);
    }
    auto creation = std::make_shared<Creation>(lay_out(std::move(topic)), std::move(done));
    begin_creation(creation);
  });
}

StoredTopic Controller::State::lay_out(NewTopic topic) {
  StoredTopic stored;
  for (const std::size_t half : {0, 8}) {
    const std::uint64_t number = random_();
    std::memcpy(stored.id.bytes.data() + half, &number, sizeof number);
  }
  stored.record = {.name = std::move(topic.name),
                   .state = TopicState::kCreating,
                   .partitions = topic.partitions,
                   .replication_factor = 1,
                   .settings = std::move(topic.settings),
                   .nonce = nonce()};
  stored.partitions.resize(static_cast<std::size_t>(topic.partitions));
  for (StoredPartition& partition : stored.partitions) {
    partition.record = {.replicas = {{self_, random_()}},
                        .isr = {self_},
                        .leader = self_,
                        .leader_epoch = LeaderEpoch(0),
                        .min_isr = stored.record.settings.min_insync_replicas(),
                        .nonce = nonce()};
  }
  return stored;
}

void Controller::State::begin_creation(const CreationPtr& creation) {
  StoredTopic& topic = creation->topic;
  const std::string key = topic_key(topic.id);
  const std::string name = name_key(topic.record.name);
  Transaction transaction;
  transaction.compares = {{key, 0}, {name, 0}};
  transaction.operations = {{key, encode(topic.record), 0},
                            {name, encode(NameRecord{topic.id, topic.record.nonce}), 0}};
  const std::size_t count = std::min(kFirstPartitionsMax, topic.partitions.size());
  for (std::size_t i = 0; i < count; ++i) {
    transaction.operations.push_back(
        {partition_key({topic.id, PartitionIndex(static_cast<std::int32_t>(i))}),
         encode(topic.partitions[i].record), 0});
  }
  commit(std::move(transaction),
         guarded([creation, count](State& state, Result<TransactionResult> result) {
           StoredTopic& made = creation->topic;
           std::optional<Error> error;
           if (!result) {
             error = result.error();
           } else if (!result->succeeded) {
             error =
                 Error(ErrorCode::kTopicExists, fmt::format("topic '{}' exists", made.record.name));
           }
           if (error) {
             creation->done(fail(std::move(*error)));
             return state.release_name(made.record.name);
           }
           made.revision = result->revision;
           for (std::size_t i = 0; i < count; ++i) made.partitions[i].revision = result->revision;
           state.write_partitions(creation);
         }));
}

void Controller::State::write_partitions(const CreationPtr& creation) {
  StoredTopic& topic = creation->topic;
  auto all = std::make_shared<Gathering>([weak = weak_from_this(), creation](Result<> result) {
    const auto state = weak.lock();
    if (!state) return;
    if (!result) return state->abandon_creation(creation, result.error());
    state->make_ready(creation);
  });
  std::size_t at = std::min(kFirstPartitionsMax, topic.partitions.size());
  while (at < topic.partitions.size()) {
    const std::size_t end = std::min(at + kOperationsPerTransactionMax, topic.partitions.size());
    const std::string first =
        partition_key({topic.id, PartitionIndex(static_cast<std::int32_t>(at))});
    Transaction transaction;
    transaction.compares = {{first, 0}, {topic_key(topic.id), topic.revision}};
    for (std::size_t i = at; i < end; ++i) {
      transaction.operations.push_back(
          {partition_key({topic.id, PartitionIndex(static_cast<std::int32_t>(i))}),
           encode(topic.partitions[i].record), 0});
    }
    all->begin();
    commit(std::move(transaction),
           [all, creation, at, end, first](Result<TransactionResult> result) {
             if (!result) return all->end(fail(result.error()));
             if (!result->succeeded) return all->end(fail(changed_meanwhile(first)));
             for (std::size_t i = at; i < end; ++i) {
               creation->topic.partitions[i].revision = result->revision;
             }
             all->end({});
           });
    at = end;
  }
}

void Controller::State::make_ready(const CreationPtr& creation) {
  make_replicas(view_of(creation->topic), guarded([creation](State& state, Result<> made) {
                  if (!made) return state.abandon_creation(creation, made.error());
                  StoredTopic& topic = creation->topic;
                  const std::string key = topic_key(topic.id);
                  topic.record.state = TopicState::kReady;
                  topic.record.nonce = state.nonce();
                  Transaction transaction{.compares = {{key, topic.revision}},
                                          .operations = {{key, encode(topic.record), 0}}};
                  state.commit(
                      std::move(transaction),
                      state.guarded([creation, key](State& self, Result<TransactionResult> result) {
                        if (!result) return self.abandon_creation(creation, result.error());
                        if (!result->succeeded) {
                          return self.abandon_creation(creation, changed_meanwhile(key));
                        }
                        creation->topic.revision = result->revision;
                        self.finish_creation(creation);
                      }));
                }));
}

void Controller::State::finish_creation(const CreationPtr& creation) {
  const std::shared_ptr<const TopicView> topic = view_of(creation->topic);
  image_.insert_or_assign(creation->topic.id, std::move(creation->topic));
  publish([&topic](ClusterView& next) { next.insert(topic); });
  creation->done(topic);
  release_name(topic->name);
}

// What cannot be removed now is removed by the next start: no client ever heard of the topic.
void Controller::State::abandon_creation(const CreationPtr& creation, Error why) {
  auto topic = std::make_shared<StoredTopic>(creation->topic);
  remove_topic(topic, guarded([creation, why = std::move(why)](State& state, Result<>) {
                 const std::string name = creation->topic.record.name;
                 creation->done(fail(why));
                 state.release_name(name);
               }));
}

// ---- delete ----

void Controller::State::delete_topic(const std::string& name, DoneCallback done) {
  if (!started_) {
    return done(fail(ErrorCode::kNotReady, "the controller has not read the metadata yet"));
  }
  with_name(name, [this, name, done = std::move(done)]() mutable {
    const TopicView* known = view->find(name);
    if (known == nullptr) {
      done(fail(ErrorCode::kUnknownTopic,
                fmt::format("topic '{}' does not exist", name.substr(0, 300))));
      return release_name(name);
    }
    auto topic = std::make_shared<StoredTopic>(image_.at(known->id));
    remove_topic(topic,
                 guarded([name, done = std::move(done)](State& state, Result<> result) mutable {
                   done(std::move(result));
                   state.release_name(name);
                 }));
  });
}

void Controller::State::remove_topic(std::shared_ptr<StoredTopic> topic, DoneCallback done) {
  const std::string key = topic_key(topic->id);
  topic->record.state = TopicState::kDeleted;
  topic->record.nonce = nonce();
  Transaction transaction{.compares = {{key, topic->revision}},
                          .operations = {{key, encode(topic->record), 0},
                                         {name_key(topic->record.name), std::nullopt, 0}}};
  commit(std::move(transaction),
         guarded([topic, key, done = std::move(done)](State& state,
                                                      Result<TransactionResult> result) mutable {
           if (!result) return done(fail(std::move(result).error()));
           if (!result->succeeded) return done(fail(changed_meanwhile(key)));
           topic->revision = result->revision;
           state.image_.erase(topic->id);
           if (state.view->find(topic->id) != nullptr) {
             state.publish([&topic](ClusterView& next) { next.erase(topic->id); });
           }
           state.drop_data(topic, std::move(done));
         }));
}

void Controller::State::drop_data(const std::shared_ptr<StoredTopic>& topic, DoneCallback done) {
  drop_replicas(view_of(*topic),
                guarded([topic, done = std::move(done)](State& state, Result<> dropped) mutable {
                  // While data may be left the tombstone stays: the next start tries again.
                  if (dropped) state.remove_keys(topic);
                  done(std::move(dropped));
                }));
}

// The tombstone goes last, so that no partition is ever without its topic. What fails here is done
// by the next start.
void Controller::State::remove_keys(const std::shared_ptr<StoredTopic>& topic) {
  const std::string tombstone = topic_key(topic->id);
  auto all =
      std::make_shared<Gathering>([weak = weak_from_this(), topic, tombstone](Result<> result) {
        const auto state = weak.lock();
        if (!state || !result) return;
        Transaction last{.compares = {{tombstone, topic->revision}},
                         .operations = {{tombstone, std::nullopt, 0}}};
        state->commit(std::move(last), [](Result<TransactionResult>) {});
        state->image_.erase(topic->id);
      });
  for (std::size_t at = 0; at < topic->partitions.size(); at += kOperationsPerTransactionMax) {
    const std::size_t end = std::min(at + kOperationsPerTransactionMax, topic->partitions.size());
    Transaction transaction{.compares = {{tombstone, topic->revision}}, .operations = {}};
    for (std::size_t i = at; i < end; ++i) {
      transaction.operations.push_back(
          {partition_key({topic->id, PartitionIndex(static_cast<std::int32_t>(i))}), std::nullopt,
           0});
    }
    all->begin();
    commit(std::move(transaction), [all, tombstone](Result<TransactionResult> result) {
      if (!result) return all->end(fail(result.error()));
      all->end(result->succeeded ? Result<>() : fail(changed_meanwhile(tombstone)));
    });
  }
}

// ---- the outside ----

Controller::Controller(MetadataStore& store, Executor& executor, BrokerId self,
                       ViewListener listener, std::function<std::uint64_t()> random)
    : state_(std::make_shared<State>(store, executor, self, std::move(listener),
                                     random ? std::move(random) : random_id)),
      executor_(executor) {}

Controller::~Controller() = default;

// Every call begins on the executor's next turn, so that no callback runs inside it.
void Controller::load(DoneCallback done) {
  executor_.post(state_->guarded(
      [done = std::move(done)](State& state) mutable { state.load(std::move(done)); }));
}

void Controller::start(bool new_epochs, DoneCallback done) {
  TIDELOG_CHECK(state_->make_replicas && state_->drop_replicas,
                "on_create() and on_delete() are set before start()");
  executor_.post(state_->guarded([new_epochs, done = std::move(done)](State& state) mutable {
    state.start(new_epochs, std::move(done));
  }));
}

void Controller::on_create(MakeReplicas make_replicas) {
  state_->make_replicas = std::move(make_replicas);
}
void Controller::on_delete(MakeReplicas drop_replicas) {
  state_->drop_replicas = std::move(drop_replicas);
}

void Controller::create_topic(NewTopic topic, CreateCallback done) {
  executor_.post(
      state_->guarded([topic = std::move(topic), done = std::move(done)](State& state) mutable {
        state.create_topic(std::move(topic), std::move(done));
      }));
}

void Controller::delete_topic(std::string name, DoneCallback done) {
  executor_.post(
      state_->guarded([name = std::move(name), done = std::move(done)](State& state) mutable {
        state.delete_topic(name, std::move(done));
      }));
}

std::shared_ptr<const ClusterView> Controller::view() const { return state_->view; }

}  // namespace tidelog::replication
