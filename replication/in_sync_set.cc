#include "replication/in_sync_set.h"

#include <algorithm>

namespace tidelog::replication {

InSyncSet::InSyncSet(const std::vector<BrokerId>& members) {
  for (const BrokerId member : members) durable_.emplace(member, Offset(0));
}

std::vector<BrokerId> InSyncSet::members() const {
  std::vector<BrokerId> ids;
  ids.reserve(durable_.size());
  for (const auto& [id, durable] : durable_) ids.push_back(id);
  return ids;
}

bool InSyncSet::advance(BrokerId member, Offset durable) {
  const auto at = durable_.find(member);
  if (at == durable_.end() || durable <= at->second) return false;
  const Offset before = committed();
  at->second = durable;
  return committed() > before;
}

Offset InSyncSet::committed() const {
  if (durable_.empty()) return Offset(0);
  return std::ranges::min_element(durable_, {}, [](const auto& entry) { return entry.second; })
      ->second;
}

}  // namespace tidelog::replication
