// Finds the partitions that are added to topics while these are read, and where each begins.
//
// Thread: its executor's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "client/cluster_metadata.h"
#include "client/consumer/offset_resolver.h"

namespace tidelog::client_core {

class TopicFollower {
 public:
  // A partition that is new, and its start.
  using Added = std::function<void(const std::string& topic, std::int32_t partition,
                                   const ResolvedOffset& start)>;
  // All references must outlive this.
  TopicFollower(ClusterMetadata& metadata, OffsetResolver& resolver, Added added);

  // Finds this topic's partitions from `first` on, until another topic has its name. REQUIRES: the
  // metadata is kept up to date for this name.
  void follow(const std::string& topic, const TopicId& id, std::int32_t first);
  // Finds nothing any more.
  void stop();

  // Call behind every answer of the metadata: what could not be resolved is tried again then.
  void look();

 private:
  struct Followed {
    TopicId id;
    std::int32_t known = 0;          // what is below was there from the beginning, or found since
    std::set<std::int32_t> missing;  // found, but without a start yet
  };

  void resolve(const std::string& topic, std::int32_t partition);
  void resolved(const std::string& topic, std::int32_t partition,
                const Result<ResolvedOffset>& start);

  ClusterMetadata& metadata_;
  OffsetResolver& resolver_;
  const Added added_;
  std::map<std::string, Followed> topics_;
  // Held weakly by what is under way; another one since stop().
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace tidelog::client_core
