#include "broker/topics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/logging.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

// Runs `done` once after `expected` reports, with the first error among them.
class Gathering {
 public:
  Gathering(std::size_t expected, Topics::DoneCallback done)
      : missing_(expected), done_(std::move(done)) {}
  void report(Result<> result) {
    if (!result && outcome_) outcome_ = std::move(result);
    if (--missing_ == 0) done_(std::move(outcome_));
  }

 private:
  std::size_t missing_;
  Result<> outcome_;
  Topics::DoneCallback done_;
};

}  // namespace

Topics::Topics(Shard& shard)
    : shard_(shard), view_(std::make_shared<const replication::ClusterView>()) {}

Topics::~Topics() = default;

Partition* Topics::find(const TopicPartition& id) {
  const auto at = partitions_.find(id);
  return at != partitions_.end() ? at->second.get() : nullptr;
}

void Topics::adopt_recovered() {
  for (log::PartitionLog* log : shard_.logs().all()) {
    if (find(log->id()) != nullptr) continue;
    const replication::TopicView* topic = view_->find(log->id().topic);
    if (topic == nullptr) {
      // Never deleted for absence: only a tombstone in the metadata allows that.
      log_warning(fmt::format("broker {}: the log {} belongs to no topic and is left alone",
                              shard_.broker().id.value(), log->id().to_string()));
      continue;
    }
    const auto shared = view_->topics().find(topic->name);
    lead(shared->second, *log);
  }
  for (const auto& [name, topic] : view_->topics()) find_missing(*topic);
}

void Topics::find_missing(const replication::TopicView& topic) {
  std::string numbers;
  for (std::size_t i = 0; i < topic.partitions.size(); ++i) {
    const TopicPartition id{topic.id, PartitionIndex(static_cast<std::int32_t>(i))};
    if (topic.partitions[i].leader != shard_.broker().id) continue;
    if (shard_.router().owner_of(id) != shard_.index() || shard_.logs().find(id) != nullptr) {
      continue;
    }
    missing_.insert(id);
    numbers += fmt::format("{}{}", numbers.empty() ? "" : ", ", i);
  }
  if (numbers.empty()) return;
  log_error(
      fmt::format("broker {}: topic '{}': the logs of these partitions are missing from the "
                  "data directory, with the records they held: {}",
                  shard_.broker().id.value(), topic.name, numbers));
}

void Topics::lead(std::shared_ptr<const replication::TopicView> topic, log::PartitionLog& log) {
  const TopicPartition id = log.id();
  const auto index = static_cast<std::size_t>(id.partition.value());
  if (index >= topic->partitions.size()) {
    log_warning(fmt::format("broker {}: topic '{}' has no partition {}; the log {} is left alone",
                            shard_.broker().id.value(), topic->name, index, id.to_string()));
    return;
  }
  const replication::PartitionView& view = topic->partitions[index];
  auto partition = std::make_unique<Partition>();
  partition->topic = topic;
  partition->id = id;
  partition->log = &log;
  replication::ReplicaOptions options;
  options.self = shard_.broker().id;
  options.min_isr = static_cast<std::size_t>(view.min_isr);
  options.durability = topic->settings.durability();
  partition->replica = std::make_unique<replication::Replica>(shard_.executor(), log, options);
  // By number: a call that was posted may arrive when the replica is gone.
  partition->replica->on_advance([shard = &shard_, id] {
    if (Partition* found = shard->topics().find(id)) shard->parked_fetches().advanced(*found);
  });
  if (view.leader == shard_.broker().id) {
    if (view.leader_epoch >= log.last_epoch()) {
      partition->replica->become_leader(view.leader_epoch, replication::InSyncSet(view.isr));
    } else {
      log_error(fmt::format("{}: the log is at leader epoch {}, the metadata at {}: not served",
                            where(id), log.last_epoch().value(), view.leader_epoch.value()));
    }
  }
  partitions_[id] = std::move(partition);
}

void Topics::create(std::shared_ptr<const replication::TopicView> topic, DoneCallback done) {
  // Partitions that clients know already have had a log: one that is missing now was lost, and an
  // empty one in its place would hide that.
  const replication::TopicView* known = view_->find(topic->id);
  const std::size_t made_before = known != nullptr ? known->partitions.size() : 0;
  std::vector<TopicPartition> mine;
  for (std::size_t i = made_before; i < topic->partitions.size(); ++i) {
    const TopicPartition id{topic->id, PartitionIndex(static_cast<std::int32_t>(i))};
    if (shard_.router().owner_of(id) == shard_.index() && find(id) == nullptr) mine.push_back(id);
  }
  if (mine.empty()) return done({});
  auto gathering = std::make_shared<Gathering>(mine.size(), std::move(done));
  const log::PartitionLogSettings settings = topic->settings.log_settings();
  for (const TopicPartition& id : mine) {
    shard_.logs().create(id, settings,
                         [this, topic, id, gathering](Result<log::PartitionLog*> log) {
                           if (!log) return gathering->report(fail(located(id, log.error())));
                           if (find(id) == nullptr) lead(topic, **log);
                           gathering->report({});
                         });
  }
}

void Topics::apply(const std::shared_ptr<const replication::TopicView>& topic) {
  const log::PartitionLogSettings settings = topic->settings.log_settings();
  for (std::size_t i = 0; i < topic->partitions.size(); ++i) {
    Partition* partition = find({topic->id, PartitionIndex(static_cast<std::int32_t>(i))});
    if (partition == nullptr) continue;
    partition->topic = topic;
    partition->log->change_settings(settings);
    partition->replica->change_durability(topic->settings.durability());
  }
}

void Topics::drop(std::shared_ptr<const replication::TopicView> topic, DoneCallback done) {
  std::vector<TopicPartition> mine;
  for (std::size_t i = 0; i < topic->partitions.size(); ++i) {
    const TopicPartition id{topic->id, PartitionIndex(static_cast<std::int32_t>(i))};
    if (shard_.router().owner_of(id) == shard_.index()) mine.push_back(id);
  }
  if (mine.empty()) return done({});
  auto gathering = std::make_shared<Gathering>(mine.size(), std::move(done));
  for (const TopicPartition& id : mine) {
    missing_.erase(id);
    if (const auto at = partitions_.find(id); at != partitions_.end()) {
      const std::unique_ptr<Partition> partition = std::move(at->second);
      partitions_.erase(at);
      shard_.parked_fetches().gone(
          *partition,
          Error(ErrorCode::kUnknownTopic, fmt::format("broker {}: topic '{}' was deleted",
                                                      shard_.broker().id.value(), topic->name)));
      partition->replica->stop();
    }
    if (shard_.logs().find(id) == nullptr) {
      gathering->report({});
      continue;
    }
    shard_.logs().remove(id,
                         [gathering](Result<> result) { gathering->report(std::move(result)); });
  }
}

void Topics::stop_all() {
  for (auto& [id, partition] : partitions_) partition->replica->stop();
}

Error Topics::unknown_topic(std::string_view name, bool with_closest) const {
  std::string message =
      fmt::format("broker {}: topic '{}' does not exist", shard_.broker().id.value(), name);
  std::vector<std::string> closest;
  if (with_closest) closest = view_->closest_names(name);
  if (!closest.empty()) {
    message += fmt::format("; did you mean '{}'?", fmt::join(closest, "' or '"));
  }
  return {ErrorCode::kUnknownTopic, std::move(message)};
}

Error Topics::unknown_topic(const TopicId& id) const {
  return {ErrorCode::kUnknownTopic,
          fmt::format("broker {}: there is no topic with id {}; it may have been deleted",
                      shard_.broker().id.value(), id.to_string())};
}

Error Topics::not_served(const TopicPartition& id) const {
  const replication::TopicView* topic = view_->find(id.topic);
  if (topic == nullptr) return unknown_topic(id.topic);
  const std::int32_t index = id.partition.value();
  if (index < 0 || static_cast<std::size_t>(index) >= topic->partitions.size()) {
    return {ErrorCode::kUnknownPartition,
            fmt::format("broker {}: topic '{}' has no partition {}; it has {}, numbered from 0",
                        shard_.broker().id.value(), topic->name, index, topic->partitions.size())};
  }
  if (missing_.contains(id)) {
    return {ErrorCode::kLostData,
            fmt::format("{}: its log is missing from the data directory", where(id))};
  }
  return {ErrorCode::kNotReady,
          fmt::format("{}: this broker has no replica that could serve it yet", where(id))};
}

std::string Topics::where(const TopicPartition& id) const {
  const replication::TopicView* topic = view_->find(id.topic);
  return fmt::format("broker {}, topic '{}', partition {}", shard_.broker().id.value(),
                     topic != nullptr ? topic->name : id.topic.to_string(), id.partition.value());
}

Error Topics::located(const TopicPartition& id, const Error& error) const {
  return error.with_context(where(id));
}

}  // namespace tidelog::broker
