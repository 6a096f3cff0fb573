// What was fetched and not yet polled, in order per partition: the fetcher fills it on the
// library's thread, poll() empties it on the user's. Its size in bytes is what bounds prefetching.
//
// Thread: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>

#include "base/buffer_pool.h"
#include "tidelog/consumer.h"

namespace tidelog::client_core {

// An assigned partition as the user's side sees it.
struct ReadCursor {
  ReadCursor(std::string topic_name, std::int32_t index)
      : topic(std::move(topic_name)), partition(index) {}

  const std::string topic;
  const std::int32_t partition;
  // Under the queue's lock. What was fetched for another generation is dropped: a seek came
  // between.
  std::uint64_t generation = 0;
  std::uint64_t seeks = 0;    // rises when the position was set, not reached
  std::int64_t position = 0;  // of the next record that poll() gives
  std::int64_t high_watermark = -1;
};

// One verified batch, or the error that ends a partition's reading.
struct Fetched {
  std::shared_ptr<ReadCursor> cursor;
  std::uint64_t generation = 0;
  std::size_t charged_bytes = 0;
  std::variant<SharedBytes, client::PartitionError> content;
  std::uint64_t seeks = 0;  // set by push()
};

class PrefetchQueue {
 public:
  // Called, on any thread, whenever poll() freed bytes.
  void on_drained(std::function<void()> drained) { drained_ = std::move(drained); }

  void push(Fetched fetched);
  // The next piece of the current generation; waits for one until `deadline`. nullopt: none came,
  // or the queue is closed. Its bytes stay charged until finish().
  std::optional<Fetched> pop(std::chrono::steady_clock::time_point deadline);
  // What pop() gave is not needed any more.
  void finish(const Fetched& fetched);
  // poll() returns from now on.
  void close();
  // The pop() that waits, or else the next, gives nothing.
  void wake();

  // Bytes pushed and not finished.
  std::size_t bytes() const;

  // A seek: drops what was fetched. Returns the new generation.
  std::uint64_t restart(ReadCursor& cursor, std::int64_t position);
  // A pause: drops what was fetched, but neither the position nor errors. Returns the new
  // generation.
  std::uint64_t suspend(ReadCursor& cursor);
  // The partition is not assigned any more.
  void retire(ReadCursor& cursor);
  bool is_current(const Fetched& fetched) const;
  // poll() gave everything before `position`.
  void advance(const Fetched& fetched, std::int64_t position);
  std::int64_t position(const ReadCursor& cursor) const;
  std::int64_t high_watermark(const ReadCursor& cursor) const;
  // Records from the position to the high watermark; nullopt before an answer told that.
  std::optional<std::int64_t> lag(const ReadCursor& cursor) const;
  void set_high_watermark(ReadCursor& cursor, std::int64_t high_watermark);

 private:
  void drop(const ReadCursor& cursor, bool keep_errors);

  std::function<void()> drained_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Fetched> fetched_;
  std::size_t bytes_ = 0;
  bool closed_ = false;
  bool woken_ = false;
};

}  // namespace tidelog::client_core
