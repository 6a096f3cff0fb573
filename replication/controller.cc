#include "replication/controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "replication/controller_state.h"

namespace tidelog::replication {

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
  // Not from here: the stack would grow with the number of changes that wait.
  executor_.post(guarded([next = std::move(at->second.front())](State&) mutable { next(); }));
  at->second.pop_front();
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
        if (result) state->finish_growths();
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

// What a crash interrupted. Clients know the topic as it was, so nobody waits.
void Controller::State::finish_growths() {
  for (const auto& [id, topic] : image_) {
    if (topic.record.state != TopicState::kReady || topic.record.growing_to == 0) continue;
    executor_.post(guarded([id](State& state) { state.go_on_growing(id); }));
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
  TIDELOG_CHECK(state_->make_replicas && state_->drop_replicas && state_->apply_topic,
                "on_create(), on_delete() and on_alter() are set before start()");
  executor_.post(state_->guarded([new_epochs, done = std::move(done)](State& state) mutable {
    state.start(new_epochs, std::move(done));
  }));
}

void Controller::on_create(State::MakeReplicas make_replicas) {
  state_->make_replicas = std::move(make_replicas);
}
void Controller::on_delete(State::MakeReplicas drop_replicas) {
  state_->drop_replicas = std::move(drop_replicas);
}

void Controller::on_alter(State::MakeReplicas apply_topic) {
  state_->apply_topic = std::move(apply_topic);
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

void Controller::alter_topic(std::string name, SettingChanges changes, DoneCallback done) {
  executor_.post(state_->guarded([name = std::move(name), changes = std::move(changes),
                                  done = std::move(done)](State& state) mutable {
    state.alter_topic(name, changes, std::move(done));
  }));
}

void Controller::add_partitions(std::string name, std::int32_t total, DoneCallback done) {
  executor_.post(state_->guarded(
      [name = std::move(name), total, done = std::move(done)](State& state) mutable {
        state.add_partitions(name, total, std::move(done));
      }));
}

std::shared_ptr<const ClusterView> Controller::view() const { return state_->view; }

}  // namespace tidelog::replication
