#include "client/producer/expiry_queue.h"

namespace tidelog::client_core {

void ExpiryQueue::add(PartitionQueue& partition, SteadyTime since) {
  std::optional<ExpiryPlace>& place = partition.expiry_place;
  if (place && place->since <= since) return;
  if (place) places_.erase(*place);
  place = ExpiryPlace{since, next_serial_++};
  places_.emplace(*place, &partition);
}

PartitionQueue* ExpiryQueue::take(SteadyTime too_old) {
  if (places_.empty() || places_.begin()->first.since > too_old) return nullptr;
  PartitionQueue* partition = places_.begin()->second;
  places_.erase(places_.begin());
  partition->expiry_place.reset();
  ++taken_;
  return partition;
}

std::optional<SteadyTime> ExpiryQueue::earliest() const {
  if (places_.empty()) return std::nullopt;
  return places_.begin()->first.since;
}

}  // namespace tidelog::client_core
