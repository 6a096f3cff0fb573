// How many connections a broker has, and how many of them come from one address. Each connection
// holds a slot for as long as it is open, whatever shard it is on.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace tidelog::broker {

class ConnectionSlots;

// Given back when destroyed. Thread: any, one at a time.
class ConnectionSlot {
 public:
  ConnectionSlot() = default;
  ConnectionSlot(ConnectionSlot&& other) noexcept
      : slots_(std::exchange(other.slots_, nullptr)), address_(std::move(other.address_)) {}
  ConnectionSlot& operator=(ConnectionSlot&& other) noexcept {
    std::swap(slots_, other.slots_);
    std::swap(address_, other.address_);
    return *this;
  }
  ConnectionSlot(const ConnectionSlot&) = delete;
  ConnectionSlot& operator=(const ConnectionSlot&) = delete;
  ~ConnectionSlot() { release(); }
  void release();

 private:
  friend class ConnectionSlots;
  ConnectionSlot(ConnectionSlots* slots, std::string address)
      : slots_(slots), address_(std::move(address)) {}
  ConnectionSlots* slots_ = nullptr;
  std::string address_;
};

// Thread: any. Must outlive its slots. Asked once per connection.
class ConnectionSlots {
 public:
  // 0: no limit.
  struct Limits {
    std::size_t all = 0;
    std::size_t of_one_address = 0;
  };
  explicit ConnectionSlots(Limits limits) : limits_(limits) {}
  ConnectionSlots(const ConnectionSlots&) = delete;
  ConnectionSlots& operator=(const ConnectionSlots&) = delete;

  // `peer` is "HOST:PORT". Fails with kOverloaded, which names the limit.
  Result<ConnectionSlot> take(std::string_view peer);
  std::size_t used() const;

 private:
  friend class ConnectionSlot;
  void give_back(const std::string& address);

  const Limits limits_;
  mutable std::mutex mutex_;
  std::size_t used_ = 0;                                          // guarded by mutex_
  std::map<std::string, std::size_t, std::less<>> of_addresses_;  // guarded by mutex_
};

}  // namespace tidelog::broker
