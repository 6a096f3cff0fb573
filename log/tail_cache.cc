#include "log/tail_cache.h"

#include <algorithm>
#include <utility>

namespace tidelog::log {
namespace {
constexpr std::size_t kDropAtLeast = 64;
}

TailCache::TailCache(std::size_t bytes_max) : bytes_max_(bytes_max), drop_at_(kDropAtLeast) {}

void TailCache::add(const std::shared_ptr<LogTail>& tail, std::size_t chunks, std::size_t bytes) {
  bytes_ += bytes;
  for (std::size_t i = 0; i < chunks; ++i) order_.push_back(tail);
  shrink();
  if (order_.size() >= drop_at_) drop_gone();
}

void TailCache::shrink() {
  while (bytes_ > bytes_max_ && !order_.empty()) {
    if (const auto tail = order_.front().lock()) {
      if (const std::size_t bytes = tail->evictable_bytes(); bytes > 0) {
        tail->evict();
        bytes_ -= bytes;
      }
    }
    order_.pop_front();
  }
}

// Each time that there are twice as many as were left the last time.
void TailCache::drop_gone() {
  for (std::size_t i = order_.size(); i > 0; --i) {
    std::weak_ptr<LogTail> tail = std::move(order_.front());
    order_.pop_front();
    if (!tail.expired()) order_.push_back(std::move(tail));
  }
  drop_at_ = std::max(kDropAtLeast, 2 * order_.size());
}

}  // namespace tidelog::log
