#include "log/tail_cache.h"

namespace tidelog::log {

void TailCache::add(const std::shared_ptr<LogTail>& tail, std::size_t chunks, std::size_t bytes) {
  bytes_ += bytes;
  for (std::size_t i = 0; i < chunks; ++i) order_.push_back(tail);
  shrink();
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

}  // namespace tidelog::log
