// How topics come and go: the life of a topic in REPLICATION.md, step by step.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "replication/controller_state.h"
#include "wire/limits.h"

namespace tidelog::replication {
namespace {

// Beside the topic's own two keys, in the transaction that begins a creation.
constexpr std::size_t kFirstPartitionsMax = kOperationsPerTransactionMax - 2;

}  // namespace

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
  return check_settings(topic.name, topic.settings);
}

Result<> Controller::State::check_settings(const std::string& name,
                                           const TopicSettings& settings) const {
  if (settings.min_insync_replicas() > 1) {
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("min.insync.replicas of topic '{}' is {}, but it has 1 replica", name,
                            settings.min_insync_replicas()));
  }
  return {};
}

PartitionRecord Controller::State::new_partition(const TopicSettings& settings) {
  return {.replicas = {{self_, random_()}},
          .isr = {self_},
          .leader = self_,
          .leader_epoch = LeaderEpoch(0),
          .min_isr = settings.min_insync_replicas(),
          .nonce = nonce()};
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
    const auto half_made = half_made_.extract(creation->topic.record.name);
    if (half_made.empty()) return begin_creation(creation);
    take_back(half_made.mapped(), guarded([creation](State& state, Result<> taken_back) {
                if (taken_back) return state.begin_creation(creation);
                creation->done(fail(std::move(taken_back).error()));
                state.release_name(creation->topic.record.name);
              }));
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
                   .nonce = nonce(),
                   .growing_to = 0};
  stored.partitions.resize(static_cast<std::size_t>(topic.partitions));
  for (StoredPartition& partition : stored.partitions) {
    partition.record = new_partition(stored.record.settings);
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

void Controller::State::abandon_creation(const CreationPtr& creation, Error why) {
  take_back(std::make_shared<StoredTopic>(creation->topic),
            guarded([creation, why = std::move(why)](State& state, Result<>) {
              creation->done(fail(why));
              state.release_name(creation->topic.record.name);
            }));
}

// No client ever heard of the topic. What cannot be removed now goes when its name is wanted again,
// or with the next start.
void Controller::State::take_back(const std::shared_ptr<StoredTopic>& topic, DoneCallback done) {
  remove_topic(topic, guarded([topic, revision = topic->revision, done = std::move(done)](
                                  State& state, Result<> removed) mutable {
                 const bool tombstone = topic->revision != revision;
                 if (!removed && !tombstone) state.half_made_[topic->record.name] = topic;
                 // With a tombstone the name is free, though data may be left.
                 done(tombstone ? Result<>() : std::move(removed));
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
                                         {name_key(topic->record.name), std::nullopt, 0}},
                          .frees_space = true};
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
  // Also those of partitions that were being added.
  topic->record.partitions = static_cast<std::int32_t>(topic->partitions.size());
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
                         .operations = {{tombstone, std::nullopt, 0}},
                         .frees_space = true};
        state->commit(std::move(last), [](Result<TransactionResult>) {});
        state->image_.erase(topic->id);
      });
  for (std::size_t at = 0; at < topic->partitions.size(); at += kOperationsPerTransactionMax) {
    const std::size_t end = std::min(at + kOperationsPerTransactionMax, topic->partitions.size());
    Transaction transaction{
        .compares = {{tombstone, topic->revision}}, .operations = {}, .frees_space = true};
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

}  // namespace tidelog::replication
