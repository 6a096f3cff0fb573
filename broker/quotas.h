// Bytes a second that each client may send and receive. A client is known by the name of its
// hello; all its connections, on all shards, share what it may. Nothing is refused: who is above
// its quota waits, and its answers say how long, which is never more than QuotaMeter::kDebtMax.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"

namespace tidelog::broker {

// What was used of one rate. It may be used for a second in advance by who was idle. Thread: any.
class QuotaMeter {
 public:
  // What is worth more time than this is forgiven: one large request at a low rate, or a rate that
  // was lower for a while, would else silence a client for hours.
  static constexpr std::chrono::seconds kDebtMax{30};

  // Counts `bytes` at `now`; returns how long their client must wait before it uses more, at most
  // kDebtMax. A rate of 0 is no limit.
  std::chrono::microseconds charge(std::uint64_t bytes, std::uint64_t bytes_per_second,
                                   SteadyTime now);
  // Whether a new meter would say the same.
  bool is_unused(SteadyTime now) const;

 private:
  mutable std::mutex mutex_;
  SteadyTime paid_until_;  // guarded by mutex_; the bytes so far are worth the time up to here
};

// One client's. Thread: any.
struct ClientQuota {
  QuotaMeter in;
  QuotaMeter out;
};

// Thread: any.
class Quotas {
 public:
  // Bytes a second of each client; 0: no limit. Holds for what is charged from now on.
  void set_limits(std::uint64_t in, std::uint64_t out);
  // The meters of the client of this name, shared by all who hold them. Who used more than its rate
  // is remembered until that is made up for, also when nobody holds its meters: a new connection is
  // no new client.
  std::shared_ptr<ClientQuota> of(const std::string& client_name, SteadyTime now);

  std::chrono::microseconds charge_in(ClientQuota& client, std::uint64_t bytes, SteadyTime now) {
    return client.in.charge(bytes, in_.load(std::memory_order_relaxed), now);
  }
  std::chrono::microseconds charge_out(ClientQuota& client, std::uint64_t bytes, SteadyTime now) {
    return client.out.charge(bytes, out_.load(std::memory_order_relaxed), now);
  }

 private:
  std::atomic<std::uint64_t> in_{0};
  std::atomic<std::uint64_t> out_{0};
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<ClientQuota>> clients_;  // guarded by mutex_
  std::size_t sweep_at_ = 64;                                    // guarded by mutex_
};

}  // namespace tidelog::broker
