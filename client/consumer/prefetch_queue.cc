#include "client/consumer/prefetch_queue.h"

#include <algorithm>
#include <utility>

namespace tidelog::client_core {

void PrefetchQueue::push(Fetched fetched) {
  const std::lock_guard lock(mutex_);
  if (fetched.generation != fetched.cursor->generation) return;
  fetched.seeks = fetched.cursor->seeks;
  bytes_ += fetched.charged_bytes;
  fetched_.push_back(std::move(fetched));
  arrived_.notify_one();
}

std::optional<Fetched> PrefetchQueue::pop(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline, [&] { return closed_ || woken_ || !fetched_.empty(); });
  if (std::exchange(woken_, false) || closed_ || fetched_.empty()) return std::nullopt;
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

void PrefetchQueue::wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  arrived_.notify_all();
}

std::size_t PrefetchQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void PrefetchQueue::drop(const ReadCursor& cursor, bool keep_errors) {
  std::erase_if(fetched_, [&](const Fetched& fetched) {
    if (fetched.cursor.get() != &cursor) return false;
    if (keep_errors && std::holds_alternative<client::PartitionError>(fetched.content))
      return false;
    bytes_ -= fetched.charged_bytes;
    return true;
  });
}

std::uint64_t PrefetchQueue::restart(ReadCursor& cursor, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  drop(cursor, false);
  cursor.position = position;
  ++cursor.seeks;
  return ++cursor.generation;
}

std::uint64_t PrefetchQueue::suspend(ReadCursor& cursor) {
  const std::lock_guard lock(mutex_);
  drop(cursor, true);
  return ++cursor.generation;
}

void PrefetchQueue::retire(ReadCursor& cursor) {
  const std::lock_guard lock(mutex_);
  drop(cursor, false);
  ++cursor.seeks;
  ++cursor.generation;
}

bool PrefetchQueue::is_current(const Fetched& fetched) const {
  const std::lock_guard lock(mutex_);
  return fetched.generation == fetched.cursor->generation;
}

void PrefetchQueue::advance(const Fetched& fetched, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  // Also when a pause came between: what was given was given.
  if (fetched.seeks == fetched.cursor->seeks) fetched.cursor->position = position;
}

std::int64_t PrefetchQueue::position(const ReadCursor& cursor) const {
  const std::lock_guard lock(mutex_);
  return cursor.position;
}

std::int64_t PrefetchQueue::high_watermark(const ReadCursor& cursor) const {
  const std::lock_guard lock(mutex_);
  return cursor.high_watermark;
}

std::optional<std::int64_t> PrefetchQueue::lag(const ReadCursor& cursor) const {
  const std::lock_guard lock(mutex_);
  if (cursor.high_watermark < 0) return std::nullopt;
  return std::max<std::int64_t>(cursor.high_watermark - cursor.position, 0);
}

void PrefetchQueue::set_high_watermark(ReadCursor& cursor, std::int64_t high_watermark) {
  const std::lock_guard lock(mutex_);
  cursor.high_watermark = high_watermark;
}

}  // namespace tidelog::client_core
