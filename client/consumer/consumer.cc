// The public consumer: poll() on the user's thread, the fetcher on the library's.
#include "tidelog/consumer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>

#include "base/random.h"
#include "client/consumer/batch_reader.h"
#include "client/consumer/fetcher.h"
#include "client/consumer/prefetch_queue.h"
#include "client/driver.h"
#include "client/durations.h"
#include "client/public_error.h"
#include "wire/record_batch.h"

namespace tidelog::client {

namespace core = client_core;

namespace {

// A poll without a smaller bound ends behind the batch that brings it here: what was received but
// not asked for stays compact.
constexpr std::size_t kPollRecords = 4096;
constexpr std::size_t kPollBytes = 32 * 1024 * 1024;

core::FetcherOptions fetcher_options(const ConsumerOptions& options, core::PoolOptions pool) {
  constexpr std::size_t kWireMax = 0x7FFFFFFF;
  core::FetcherOptions fetcher;
  fetcher.pool = std::move(pool);
  fetcher.request_timeout = core::bounded(options.connect.request_timeout);
  fetcher.prefetch_bytes_max = options.prefetch_bytes_max;
  fetcher.fetch_bytes_max = std::clamp<std::size_t>(options.fetch_bytes_max, 1, kWireMax);
  fetcher.partition_fetch_bytes_max =
      std::clamp<std::size_t>(options.partition_fetch_bytes_max, 1, kWireMax);
  fetcher.fetch_wait = std::min<std::chrono::milliseconds>(core::bounded(options.fetch_wait),
                                                           std::chrono::hours(24));
  fetcher.metadata_max_age = core::bounded(options.metadata_max_age);
  fetcher.uncompressed_batch_bytes_max = options.uncompressed_batch_bytes_max;
  return fetcher;
}

}  // namespace

class Consumer::Impl {
 public:
  explicit Impl(const ConsumerOptions& options)
      : uncompressed_bytes_max_(options.uncompressed_batch_bytes_max),
        pool_options_(core::to_pool_options(options.connect)) {
    if (!pool_options_) return;  // every call says so
    driver_.run([&] {
      fetcher_ = std::make_unique<core::Fetcher>(
          driver_.network(), driver_.executor(), driver_.buffers(), queue_,
          fetcher_options(options, *pool_options_), random_id());
    });
    queue_.on_drained([this] {
      if (!woken_.exchange(true)) {
        driver_.executor().post([this] {
          woken_.store(false);
          fetcher_->pump();
        });
      }
    });
  }

  ~Impl() {
    close(std::chrono::milliseconds(0));
    driver_.run([this] { fetcher_.reset(); });
  }

  // Runs `start` on the library's thread with a callback, and waits for that.
  template <typename T, typename Start>
  tidelog::Result<T> wait_for(Start start) {
    if (!pool_options_) return fail(pool_options_.error());
    if (driver_.on_thread()) {
      return fail(ErrorCode::kInvalidArgument, "Consumer cannot be called in its log callback");
    }
    auto promise = std::make_shared<std::promise<tidelog::Result<T>>>();
    auto future = promise->get_future();
    driver_.executor().post([this, promise, start = std::move(start)]() mutable {
      if (closed_) return promise->set_value(fail(ErrorCode::kCancelled, "the consumer is closed"));
      start(*fetcher_,
            [promise](tidelog::Result<T> result) { promise->set_value(std::move(result)); });
    });
    return future.get();
  }

  ConsumedRecords poll(std::chrono::milliseconds timeout, std::size_t records_max);

  std::shared_ptr<core::ReadCursor> cursor(const std::string& topic, std::int32_t partition) {
    if (!pool_options_) return nullptr;
    std::shared_ptr<core::ReadCursor> found;
    driver_.run([&] { found = fetcher_->cursor(topic, partition); });
    return found;
  }
  std::shared_ptr<core::ReadCursor> watch_end(const std::string& topic, std::int32_t partition) {
    if (!pool_options_) return nullptr;
    std::shared_ptr<core::ReadCursor> found;
    driver_.run([&] { found = fetcher_->watch_end(topic, partition); });
    return found;
  }
  const core::PrefetchQueue& queue() const { return queue_; }
  void wakeup() { queue_.wake(); }

  bool close(std::chrono::milliseconds deadline) {
    queue_.close();
    if (!pool_options_) return true;
    return driver_.run_within(core::bounded(deadline) + core::kCallbackPatience, [this] {
      closed_ = true;
      fetcher_->shut_down();
    });
  }

 private:
  // The batch that the last poll() has not read to its end.
  struct Current {
    core::Fetched fetched;
    core::BatchReader reader;
    std::int64_t position;  // records before it are skipped
  };

  // False: nothing came until `deadline`.
  bool open_next(std::chrono::steady_clock::time_point deadline, ConsumedRecords& out);
  void read_current(std::size_t records_max, ConsumedRecords& out);
  void report(const core::Fetched& fetched, const tidelog::Error& error, std::int64_t position,
              ConsumedRecords& out);

  const std::size_t uncompressed_bytes_max_;
  const tidelog::Result<core::PoolOptions> pool_options_;
  core::Driver driver_;  // first: its buffers outlive what the queue holds
  core::PrefetchQueue queue_;
  std::atomic<bool> woken_{false};
  bool closed_ = false;                     // the driver's thread only
  std::unique_ptr<core::Fetcher> fetcher_;  // lives on the driver's thread

  std::timed_mutex poll_mutex_;  // one poll() at a time
  std::optional<Current> current_;
};

ConsumedRecords Consumer::Impl::poll(std::chrono::milliseconds timeout, std::size_t records_max) {
  const auto now = std::chrono::steady_clock::now();
  const auto deadline = now + core::bounded(timeout);
  ConsumedRecords out;
  const std::unique_lock lock(poll_mutex_, deadline);
  if (!lock.owns_lock()) return out;  // another thread's poll() waits longer than this one may
  std::size_t bytes = 0;              // of the batches that records came from
  while (out.records.size() < std::min(records_max, kPollRecords) && bytes < kPollBytes &&
         out.errors.empty()) {
    if (current_ && !queue_.is_current(current_->fetched)) {
      queue_.finish(current_->fetched);
      current_.reset();
    }
    if (!current_ && !open_next(out.empty() ? deadline : now, out)) break;
    if (!current_) continue;
    bytes += current_->reader.bytes();
    read_current(records_max, out);
  }
  return out;
}

bool Consumer::Impl::open_next(std::chrono::steady_clock::time_point deadline,
                               ConsumedRecords& out) {
  std::optional<core::Fetched> fetched = queue_.pop(deadline);
  if (!fetched) return false;
  if (auto* error = std::get_if<PartitionError>(&fetched->content)) {
    out.errors.push_back(std::move(*error));
    return true;
  }
  const std::int64_t position = queue_.position(*fetched->cursor);
  auto reader = core::BatchReader::open(std::get<SharedBytes>(fetched->content), driver_.buffers(),
                                        uncompressed_bytes_max_);
  if (!reader) {
    report(*fetched, reader.error(), position, out);
    queue_.finish(*fetched);
    return true;
  }
  current_.emplace(Current{std::move(*fetched), std::move(*reader), position});
  return true;
}

void Consumer::Impl::read_current(std::size_t records_max, ConsumedRecords& out) {
  Current& current = *current_;
  const core::ReadCursor& cursor = *current.fetched.cursor;
  const std::size_t before = out.records.size();
  const std::size_t enough =
      before +
      std::min(records_max - before, static_cast<std::size_t>(current.reader.record_count()));
  // At least doubling: exactly enough for each of many small batches would move all records again
  // and again.
  if (enough > out.records.capacity()) out.records.reserve(std::max(enough, 2 * before));
  const auto keep_memory = [&] {
    if (out.records.size() == before) return;
    out.memory_.push_back(current.reader.memory());
    out.memory_.push_back(current.fetched.cursor);
  };
  while (current.reader.has_next() && out.records.size() < records_max) {
    const auto record = current.reader.next();
    if (!record) {
      keep_memory();  // of the records before it
      report(current.fetched, record.error(), current.position, out);
      queue_.finish(current.fetched);
      current_.reset();
      return;
    }
    const std::int64_t offset = current.reader.offset();
    if (offset < current.position) continue;
    ConsumedRecord& to = out.records.emplace_back();
    to.topic = cursor.topic;
    to.partition = cursor.partition;
    to.offset = offset;
    to.timestamp_ms = current.reader.timestamp_ms();
    to.leader_epoch = current.reader.leader_epoch();
    to.key = (*record)->key;
    to.value = (*record)->value;
    for (const wire::HeaderView& header : (*record)->headers) {
      to.headers.push_back({header.key, header.value});
    }
    current.position = offset + 1;
  }
  keep_memory();
  const bool ended = !current.reader.has_next();
  if (ended) current.position = std::max(current.position, current.reader.next_offset());
  queue_.advance(current.fetched, current.position);
  if (ended) {
    queue_.finish(current.fetched);
    current_.reset();
  }
}

void Consumer::Impl::report(const core::Fetched& fetched, const tidelog::Error& error,
                            std::int64_t position, ConsumedRecords& out) {
  // Nothing behind it may be given as if it were there.
  bool stopped = false;
  driver_.run([&] { stopped = fetcher_->stop(fetched, position); });
  if (!stopped) return;  // sought or left meanwhile: no error of what is read now
  const core::ReadCursor& cursor = *fetched.cursor;
  PartitionError report;
  // Its header was verified, so where it ends is known.
  const std::span<const std::byte> batch = std::get<SharedBytes>(fetched.content).bytes();
  if (const auto view = wire::BatchView::parse(batch, batch.size())) {
    report.resume_offset = view->next_offset().value();
  }
  report.topic = cursor.topic;
  report.partition = cursor.partition;
  report.position = position;
  report.error = core::to_public(error.with_context(fmt::format(
      "topic '{}' partition {}, batch for offset {}", cursor.topic, cursor.partition, position)));
  out.errors.push_back(std::move(report));
}

Consumer::Consumer(ConsumerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Consumer::~Consumer() = default;

Status Consumer::assign(std::vector<Assignment> assignments) {
  const auto result = impl_->wait_for<void>([&](core::Fetcher& fetcher, core::Fetcher::Done done) {
    fetcher.assign(std::move(assignments), std::move(done));
  });
  if (!result) return core::to_public(result.error());
  return Nothing{};
}

Status Consumer::seek(const std::string& topic, std::int32_t partition, Position position) {
  const auto result = impl_->wait_for<void>([&](core::Fetcher& fetcher, core::Fetcher::Done done) {
    fetcher.seek(topic, partition, position, std::move(done));
  });
  if (!result) return core::to_public(result.error());
  return Nothing{};
}

Status Consumer::follow(const std::string& topic, std::int32_t first) {
  const auto result = impl_->wait_for<void>([&](core::Fetcher& fetcher, core::Fetcher::Done done) {
    done(fetcher.follow(topic, first));
  });
  if (!result) return core::to_public(result.error());
  return Nothing{};
}

Status Consumer::pause(const std::string& topic, std::int32_t partition) {
  const auto result = impl_->wait_for<void>([&](core::Fetcher& fetcher, core::Fetcher::Done done) {
    done(fetcher.pause(topic, partition));
  });
  if (!result) return core::to_public(result.error());
  return Nothing{};
}

Status Consumer::resume(const std::string& topic, std::int32_t partition) {
  const auto result = impl_->wait_for<void>([&](core::Fetcher& fetcher, core::Fetcher::Done done) {
    done(fetcher.resume(topic, partition));
  });
  if (!result) return core::to_public(result.error());
  return Nothing{};
}

ConsumedRecords Consumer::poll(std::chrono::milliseconds timeout, std::size_t records_max) {
  return impl_->poll(timeout, records_max);
}

std::optional<std::int64_t> Consumer::position(const std::string& topic,
                                               std::int32_t partition) const {
  const auto cursor = impl_->cursor(topic, partition);
  if (cursor == nullptr) return std::nullopt;
  return impl_->queue().position(*cursor);
}

std::optional<std::int64_t> Consumer::high_watermark(const std::string& topic,
                                                     std::int32_t partition) const {
  const auto cursor = impl_->watch_end(topic, partition);
  if (cursor == nullptr) return std::nullopt;
  const std::int64_t high_watermark = impl_->queue().high_watermark(*cursor);
  if (high_watermark < 0) return std::nullopt;
  return high_watermark;
}

std::optional<std::int64_t> Consumer::lag(const std::string& topic, std::int32_t partition) const {
  const auto cursor = impl_->watch_end(topic, partition);
  if (cursor == nullptr) return std::nullopt;
  return impl_->queue().lag(*cursor);
}

Result<std::optional<std::int64_t>> Consumer::resolve(const std::string& topic,
                                                      std::int32_t partition, Position position) {
  const auto result = impl_->wait_for<core::ResolvedOffset>(
      [&](core::Fetcher& fetcher, core::OffsetResolver::Callback done) {
        fetcher.resolve(topic, partition, position, std::move(done));
      });
  if (!result) return core::to_public(result.error());
  return result->offset;
}

void Consumer::wakeup() { impl_->wakeup(); }

bool Consumer::close(std::chrono::milliseconds deadline) { return impl_->close(deadline); }

}  // namespace tidelog::client
