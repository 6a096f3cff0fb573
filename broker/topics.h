// What a shard knows of the cluster's topics, and the replicas it owns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/partition_hash.h"
#include "broker/router.h"
#include "log/log_store.h"
#include "replication/cluster_view.h"
#include "replication/replica.h"

namespace tidelog::broker {

struct FetchPosition;

// One replica on this shard and who reads it.
struct Partition {
  std::shared_ptr<const replication::TopicView> topic;
  TopicPartition id;
  log::PartitionLog* log = nullptr;
  std::unique_ptr<replication::Replica> replica;
  std::vector<FetchPosition*> positions;  // of fetch sessions
  bool advanced = false;                  // its readers are woken at the end of this turn
};

// Thread: the shard's.
class Topics {
 public:
  explicit Topics(Shard& shard);
  ~Topics();

  // Never null.
  const std::shared_ptr<const replication::ClusterView>& view() const { return view_; }
  void set_view(std::shared_ptr<const replication::ClusterView> view) { view_ = std::move(view); }

  // Makes replicas of the logs that were recovered and leads those that `view` says so. A partition
  // that has a topic and no log has lost its records: it is named in the log and answers so.
  void adopt_recovered();

  // Null when this shard owns no such replica.
  Partition* find(const TopicPartition& id);
  std::size_t partition_count() const { return partitions_.size(); }

  using DoneCallback = std::move_only_function<void(Result<>)>;
  // Makes (or finds) the logs of this shard's partitions of `topic` that the view does not have
  // yet, and leads them; they take writes when `done` runs.
  void create(std::shared_ptr<const replication::TopicView> topic, DoneCallback done);
  // Lets this shard's replicas of `topic` know what it is now: its settings, its partitions.
  void apply(const std::shared_ptr<const replication::TopicView>& topic);
  // Ends this shard's replicas of `topic` and removes their logs. What waits for them is told.
  void drop(std::shared_ptr<const replication::TopicView> topic, DoneCallback done);
  // Ends every replica, before the logs close: what is pending is told UNKNOWN_OUTCOME, or
  // STORAGE_FULL where a full disk kept it from every write.
  void stop_all();
  // Destroys every replica; the logs may go afterwards.
  void clear() { partitions_.clear(); }

  // Errors that name broker, topic and partition; for an unknown topic the closest ones, unless
  // not wanted: looking for them compares the name with all others.
  Error unknown_topic(std::string_view name, bool with_closest = true) const;
  Error unknown_topic(const TopicId& id) const;
  // Why a partition that is not found here cannot be served.
  Error not_served(const TopicPartition& id) const;
  // "broker 1, topic 'x', partition 3".
  std::string where(const TopicPartition& id) const;
  // `error` with where() before it.
  Error located(const TopicPartition& id, const Error& error) const;

 private:
  void lead(std::shared_ptr<const replication::TopicView> topic, log::PartitionLog& log);
  void find_missing(const replication::TopicView& topic);

  Shard& shard_;
  std::shared_ptr<const replication::ClusterView> view_;
  std::unordered_map<TopicPartition, std::unique_ptr<Partition>> partitions_;
  PartitionSet missing_;  // had a log, which recovery did not find
};

}  // namespace tidelog::broker
