#include "broker/quotas.h"

#include <algorithm>

namespace tidelog::broker {
namespace {

constexpr std::chrono::seconds kBurst{1};

}  // namespace

std::chrono::microseconds QuotaMeter::charge(std::uint64_t bytes, std::uint64_t bytes_per_second,
                                             SteadyTime now) {
  if (bytes_per_second == 0) return std::chrono::microseconds::zero();
  const std::chrono::duration<double> worth(static_cast<double>(bytes) /
                                            static_cast<double>(bytes_per_second));
  const std::lock_guard lock(mutex_);
  paid_until_ =
      std::max(paid_until_, now - kBurst) + std::chrono::duration_cast<SteadyTime::duration>(worth);
  return std::max(std::chrono::ceil<std::chrono::microseconds>(paid_until_ - now),
                  std::chrono::microseconds::zero());
}

void Quotas::set_limits(std::uint64_t in, std::uint64_t out) {
  in_.store(in, std::memory_order_relaxed);
  out_.store(out, std::memory_order_relaxed);
}

std::shared_ptr<ClientQuota> Quotas::of(const std::string& client_name) {
  const std::lock_guard lock(mutex_);
  if (clients_.size() >= sweep_at_) {
    // Names of clients that are gone; the table grows with those that are not.
    std::erase_if(clients_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max<std::size_t>(64, 2 * clients_.size());
  }
  std::weak_ptr<ClientQuota>& known = clients_[client_name];
  std::shared_ptr<ClientQuota> client = known.lock();
  if (!client) known = client = std::make_shared<ClientQuota>();
  return client;
}

}  // namespace tidelog::broker
