// The in-sync set and the high watermark it allows (R2): the smallest durable offset of its
// members.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "base/ids.h"

namespace tidelog::replication {

class InSyncSet {
 public:
  InSyncSet() = default;
  // Members begin without progress, which counts as offset 0.
  explicit InSyncSet(const std::vector<BrokerId>& members);

  bool contains(BrokerId member) const { return durable_.contains(member); }
  std::size_t size() const { return durable_.size(); }
  std::vector<BrokerId> members() const;

  // Progress of a member; one that goes back or of a stranger is ignored. True when the minimum
  // rose.
  bool advance(BrokerId member, Offset durable);
  // What all members have durably.
  Offset committed() const;

 private:
  std::map<BrokerId, Offset> durable_;
};

}  // namespace tidelog::replication
