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
  // Compared before it is added: an absurd number of bytes is worth more than the clock can count.
  const auto debt = std::min<std::chrono::duration<double>>(
      std::max(paid_until_, now - kBurst) - now + worth, kDebtMax);
  paid_until_ = now + std::chrono::duration_cast<SteadyTime::duration>(debt);
  return std::max(std::chrono::ceil<std::chrono::microseconds>(paid_until_ - now),
                  std::chrono::microseconds::zero());
}

bool QuotaMeter::is_unused(SteadyTime now) const {
  const std::lock_guard lock(mutex_);
  return paid_until_ <= now - kBurst;
}

void Quotas::set_limits(std::uint64_t in, std::uint64_t out) {
  in_.store(in, std::memory_order_relaxed);
  out_.store(out, std::memory_order_relaxed);
}

std::shared_ptr<ClientQuota> Quotas::of(const std::string& client_name, SteadyTime now) {
  const std::lock_guard lock(mutex_);
  if (clients_.size() >= sweep_at_) {
    // Names of clients that are gone; the table grows with those that are not.
    // (Nobody takes hold of meters but here, under the lock.)
    std::erase_if(clients_, [now](const auto& entry) {
      const auto& [name, quota] = entry;
      return quota.use_count() == 1 && quota->in.is_unused(now) && quota->out.is_unused(now);
    });
    sweep_at_ = std::max<std::size_t>(64, 2 * clients_.size());
  }
  std::shared_ptr<ClientQuota>& client = clients_[client_name];
  if (!client) client = std::make_shared<ClientQuota>();
  return client;
}

}  // namespace tidelog::broker
