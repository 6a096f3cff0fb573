#include "broker/connection_slots.h"

#include <fmt/format.h>

namespace tidelog::broker {

void ConnectionSlot::release() {
  if (slots_ != nullptr) std::exchange(slots_, nullptr)->give_back(address_);
}

Result<ConnectionSlot> ConnectionSlots::take(std::string_view peer) {
  const std::string_view address = peer.substr(0, peer.rfind(':'));
  const std::lock_guard lock(mutex_);
  if (limits_.all != 0 && used_ >= limits_.all) {
    return fail(ErrorCode::kOverloaded,
                fmt::format("the broker has {} connections and takes no more", used_));
  }
  const auto known = of_addresses_.find(address);
  const std::size_t of_address = known != of_addresses_.end() ? known->second : 0;
  if (limits_.of_one_address != 0 && of_address >= limits_.of_one_address) {
    return fail(ErrorCode::kOverloaded,
                fmt::format("the broker has {} connections from {} and takes no more of them",
                            of_address, address));
  }
  ++used_;
  if (known != of_addresses_.end()) {
    ++known->second;
  } else {
    of_addresses_.emplace(address, 1);
  }
  return ConnectionSlot(this, std::string(address));
}

std::size_t ConnectionSlots::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

void ConnectionSlots::give_back(const std::string& address) {
  const std::lock_guard lock(mutex_);
  --used_;
  const auto known = of_addresses_.find(address);
  if (--known->second == 0) of_addresses_.erase(known);
}

}  // namespace tidelog::broker
