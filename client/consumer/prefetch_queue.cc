#include "client/consumer/prefetch_queue.h"

#include <utility>

namespace tidelog::client_core {

void PrefetchQueue::push(Fetched fetched) {
  const std::lock_guard lock(mutex_);
  if (fetched.generation != fetched.cursor->generation) return;
  bytes_ += fetched.charged_bytes;
  fetched_.push_back(std::move(fetched));
  arrived_.notify_one();
}

std::optional<Fetched> PrefetchQueue::pop(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline, [&] { return closed_ || !fetched_.empty(); });
  if (closed_ || fetched_.empty()) return std::nullopt;
  Fetched first = std::move(fetched_.front());
  fetched_.pop_front();
  return first;
}

void PrefetchQueue::finish(const Fetched& fetched) {
  {
    const std::lock_guard lock(mutex_);
    bytes_ -= fetched.charged_bytes;
  }
  if (fetched.charged_bytes > 0 && drained_) drained_();
}

void PrefetchQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  arrived_.notify_all();
}

std::size_t PrefetchQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void PrefetchQueue::drop_stale(const ReadCursor& cursor) {
  std::erase_if(fetched_, [&](const Fetched& fetched) {
    if (fetched.cursor.get() != &cursor) return false;
    bytes_ -= fetched.charged_bytes;
    return true;
  });
}

std::uint64_t PrefetchQueue::restart(ReadCursor& cursor, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  drop_stale(cursor);
  cursor.position = position;
  return ++cursor.generation;
}

void PrefetchQueue::retire(ReadCursor& cursor) {
  const std::lock_guard lock(mutex_);
  drop_stale(cursor);
  ++cursor.generation;
}

bool PrefetchQueue::is_current(const Fetched& fetched) const {
  const std::lock_guard lock(mutex_);
  return fetched.generation == fetched.cursor->generation;
}

void PrefetchQueue::advance(const Fetched& fetched, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  if (fetched.generation == fetched.cursor->generation) fetched.cursor->position = position;
}

std::int64_t PrefetchQueue::position(const ReadCursor& cursor) const {
  const std::lock_guard lock(mutex_);
  return cursor.position;
}

std::int64_t PrefetchQueue::high_watermark(const ReadCursor& cursor) const {
  const std::lock_guard lock(mutex_);
  return cursor.high_watermark;
}

void PrefetchQueue::set_high_watermark(ReadCursor& cursor, std::int64_t high_watermark) {
  const std::lock_guard lock(mutex_);
  cursor.high_watermark = high_watermark;
}

}  // namespace tidelog::client_core
