// How a topic that exists changes: its settings, and the number of its partitions.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/logging.h"
#include "log/io/storage_error.h"
#include "replication/controller_state.h"
#include "wire/limits.h"

namespace tidelog::replication {
namespace {

constexpr std::chrono::seconds kGrowAgainAfter{5};

// With all partitions that were begun, also those that no client knows yet.
std::shared_ptr<const TopicView> grown_view_of(const StoredTopic& topic) {
  StoredTopic grown = topic;
  grown.record.partitions = static_cast<std::int32_t>(grown.partitions.size());
  return view_of(grown);
}

}  // namespace

void Controller::State::with_topic(
    const std::string& name, DoneCallback done,
    std::move_only_function<void(std::shared_ptr<StoredTopic>, DoneCallback)> change) {
  if (!started_) {
    return done(fail(ErrorCode::kNotReady, "the controller has not read the metadata yet"));
  }
  with_name(name, [this, name, done = std::move(done), change = std::move(change)]() mutable {
    auto finish = guarded([name, done = std::move(done)](State& state, Result<> result) mutable {
      done(std::move(result));
      state.release_name(name);
    });
    const TopicView* known = view->find(name);
    if (known == nullptr) {
      return finish(fail(ErrorCode::kUnknownTopic,
                         fmt::format("topic '{}' does not exist", name.substr(0, 300))));
    }
    change(std::make_shared<StoredTopic>(image_.at(known->id)), std::move(finish));
  });
}

void Controller::State::commit_topic(const std::shared_ptr<StoredTopic>& topic, DoneCallback done) {
  const std::string key = topic_key(topic->id);
  topic->record.nonce = nonce();
  Transaction transaction{.compares = {{key, topic->revision}},
                          .operations = {{key, encode(topic->record), 0}}};
  commit(std::move(transaction),
         guarded([topic, key, done = std::move(done)](State& state,
                                                      Result<TransactionResult> result) mutable {
           if (!result) return done(fail(std::move(result).error()));
           if (!result->succeeded) return done(fail(changed_meanwhile(key)));
           topic->revision = result->revision;
           state.image_.insert_or_assign(topic->id, *topic);
           done({});
         }));
}

void Controller::State::show(const std::shared_ptr<StoredTopic>& topic, DoneCallback done) {
  const std::shared_ptr<const TopicView> seen = view_of(*topic);
  publish([&seen](ClusterView& next) { next.insert(seen); });
  apply_topic(seen, std::move(done));
}

// ---- settings ----

void Controller::State::alter_topic(const std::string& name, const SettingChanges& changes,
                                    DoneCallback done) {
  with_topic(name, std::move(done),
             [this, changes](std::shared_ptr<StoredTopic> topic, DoneCallback finish) {
               TopicSettings settings = topic->record.settings;
               for (const auto& [setting, value] : changes) {
                 Result<> changed = value ? settings.set(setting, *value) : settings.reset(setting);
                 if (!changed) return finish(std::move(changed));
               }
               if (auto sound = check_settings(topic->record.name, settings); !sound) {
                 return finish(std::move(sound));
               }
               if (settings.values == topic->record.settings.values) return finish({});
               topic->record.settings = std::move(settings);
               commit_topic(topic, guarded([topic, finish = std::move(finish)](
                                               State& state, Result<> kept) mutable {
                              if (!kept) return finish(std::move(kept));
                              state.show(topic, std::move(finish));
                            }));
             });
}

// ---- partitions ----

void Controller::State::add_partitions(const std::string& name, std::int32_t total,
                                       DoneCallback done) {
  with_topic(name, std::move(done),
             [this, total](std::shared_ptr<StoredTopic> topic, DoneCallback finish) {
               const std::int32_t now = topic->record.partitions;
               const std::int32_t begun = topic->record.growing_to;
               if (total == now) return finish({});
               const auto refuse = [&](std::string why) {
                 finish(fail(ErrorCode::kInvalidPartitions,
                             fmt::format("topic '{}' {}", topic->record.name, why)));
               };
               if (total > wire::kPartitionsPerTopicMax) {
                 return refuse(fmt::format("cannot have {} partitions; at most {} are allowed",
                                           total, wire::kPartitionsPerTopicMax));
               }
               if (total < std::max(now, begun)) {
                 return refuse(fmt::format(
                     "has {} partition{}{}; they are never removed", now, now == 1 ? "" : "s",
                     begun > 0 ? fmt::format(" and grows to {}", begun) : ""));
               }
               auto go_on = guarded(
                   [topic, total, finish = std::move(finish)](State& state, Result<> kept) mutable {
                     if (!kept) return finish(std::move(kept));
                     auto grown = [topic, total, finish = std::move(finish)](
                                      State& self, Result<> result) mutable {
                       if (!result) result = self.grow_later(*topic, total, result.error());
                       finish(std::move(result));
                     };
                     state.grow(topic, state.guarded(std::move(grown)));
                   });
               if (begun == total) return go_on(Result<>());
               topic->record.growing_to = total;
               topic->partitions.resize(static_cast<std::size_t>(total));
               commit_topic(topic, std::move(go_on));
             });
}

Result<> Controller::State::grow_later(const StoredTopic& topic, std::int32_t total,
                                       const Error& why) {
  if (log::io::is_final(why)) return fail(why);
  if (growing_later_.insert(topic.id).second) {
    executor_.run_after(kGrowAgainAfter, guarded([id = topic.id](State& state) {
                          state.growing_later_.erase(id);
                          state.go_on_growing(id);
                        }));
  }
  return fail(why.code(), fmt::format("topic '{}' gets its {} partitions as soon as that is "
                                      "possible, which now it is not: {}",
                                      topic.record.name, total, why.message()));
}

void Controller::State::go_on_growing(const TopicId& id) {
  const auto topic = image_.find(id);
  if (topic == image_.end() || topic->second.record.state != TopicState::kReady ||
      topic->second.record.growing_to == 0) {
    return;
  }
  const std::string& name = topic->second.record.name;
  const std::int32_t total = topic->second.record.growing_to;
  add_partitions(name, total, [name, total](const Result<>& grown) {
    if (grown) {
      log_info(fmt::format("topic '{}' has {} partitions, as was asked for before", name, total));
    } else {
      log_warning(fmt::format("{}", grown.error().to_string()));
    }
  });
}

void Controller::State::grow(const std::shared_ptr<StoredTopic>& topic, DoneCallback done) {
  auto all = std::make_shared<Gathering>(
      [weak = weak_from_this(), topic, done = std::move(done)](Result<> written) mutable {
        const auto state = weak.lock();
        if (!state) return;
        state->image_.insert_or_assign(topic->id, *topic);  // a later attempt goes on from here
        if (!written) return done(std::move(written));
        state->make_replicas(
            grown_view_of(*topic),
            state->guarded([topic, done = std::move(done)](State& self, Result<> made) mutable {
              if (!made) return done(std::move(made));
              self.finish_growth(topic, std::move(done));
            }));
      });
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < topic->partitions.size(); ++i) {
    if (topic->partitions[i].revision == 0) missing.push_back(i);
  }
  for (std::size_t at = 0; at < missing.size(); at += kOperationsPerTransactionMax) {
    const std::size_t count = std::min(kOperationsPerTransactionMax, missing.size() - at);
    write_new_partitions(topic,
                         {missing.begin() + static_cast<std::ptrdiff_t>(at),
                          missing.begin() + static_cast<std::ptrdiff_t>(at + count)},
                         all);
  }
}

void Controller::State::write_new_partitions(const std::shared_ptr<StoredTopic>& topic,
                                             std::vector<std::size_t> indexes,
                                             const std::shared_ptr<Gathering>& all) {
  const auto key_of = [&](std::size_t index) {
    return partition_key({topic->id, PartitionIndex(static_cast<std::int32_t>(index))});
  };
  const std::string first = key_of(indexes.front());
  Transaction transaction;
  transaction.compares = {{first, 0}, {topic_key(topic->id), topic->revision}};
  for (const std::size_t index : indexes) {
    topic->partitions[index].record = new_partition(topic->record.settings);
    transaction.operations.push_back({key_of(index), encode(topic->partitions[index].record), 0});
  }
  all->begin();
  commit(std::move(transaction),
         [all, topic, indexes = std::move(indexes), first](Result<TransactionResult> result) {
           if (!result) return all->end(fail(result.error()));
           if (!result->succeeded) return all->end(fail(changed_meanwhile(first)));
           for (const std::size_t index : indexes)
             topic->partitions[index].revision = result->revision;
           all->end({});
         });
}

void Controller::State::finish_growth(const std::shared_ptr<StoredTopic>& topic,
                                      DoneCallback done) {
  topic->record.partitions = topic->record.growing_to;
  topic->record.growing_to = 0;
  commit_topic(topic, guarded([topic, done = std::move(done)](State& state, Result<> kept) mutable {
                 if (!kept) return done(std::move(kept));
                 state.show(topic, std::move(done));
               }));
}

}  // namespace tidelog::replication
