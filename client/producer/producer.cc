// The public producer: the accumulator for users' threads, the sender on the library's.
#include "tidelog/producer.h"

#include <atomic>

#include "base/random.h"
#include "client/driver.h"
#include "client/durations.h"
#include "client/producer/accumulator.h"
#include "client/producer/sender.h"
#include "client/public_error.h"

namespace tidelog::client {

namespace core = client_core;

namespace {

core::AcksOnWire to_wire(Acks acks) {
  switch (acks) {
    case Acks::kNone:
      return core::AcksOnWire::kNone;
    case Acks::kLeader:
      return core::AcksOnWire::kLeader;
    case Acks::kAll:
      return core::AcksOnWire::kAll;
  }
  return core::AcksOnWire::kAll;
}

wire::Codec to_wire(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return wire::Codec::kNone;
    case Compression::kGzip:
      return wire::Codec::kGzip;
    case Compression::kSnappy:
      return wire::Codec::kSnappy;
    case Compression::kLz4:
      return wire::Codec::kLz4;
    case Compression::kZstd:
      return wire::Codec::kZstd;
  }
  return wire::Codec::kNone;
}

core::SenderOptions sender_options(const ProducerOptions& options, core::PoolOptions pool) {
  core::SenderOptions sender;
  sender.pool = std::move(pool);
  sender.acks = to_wire(options.acks);
  sender.compression = {to_wire(options.compression), options.compression_level};
  sender.linger = core::bounded(options.linger);
  sender.request_timeout = core::bounded(options.connect.request_timeout);
  sender.delivery_timeout = core::bounded(options.delivery_timeout);
  sender.metadata_max_age = core::bounded(options.metadata_max_age);
  sender.in_flight_max = options.in_flight_max;
  sender.idempotent = options.idempotent && options.acks != Acks::kNone;
  sender.retry_unknown = options.retry_unknown;
  return sender;
}

}  // namespace

class Producer::Impl {
 public:
  explicit Impl(const ProducerOptions& options)
      : accumulator_(system_clock(), {.batch_bytes_max = options.batch_bytes_max,
                                      .buffer_bytes_max = options.buffer_bytes_max,
                                      .partitioner = options.partitioner,
                                      .seed = random_id()}) {
    auto pool = core::to_pool_options(options.connect);
    if (!pool) {
      broken_ = pool.error();
      return;
    }
    const wire::Compression compression(to_wire(options.compression), options.compression_level);
    if (const auto sound = wire::check_compression(compression); !sound) {
      broken_ = sound.error();
      return;
    }
    driver_.run([&] {
      sender_ = std::make_unique<core::Sender>(
          driver_.network(), driver_.executor(), *driver_.buffers(), accumulator_,
          sender_options(options, std::move(*pool)), random_id());
    });
    accumulator_.on_work([this] { driver_.executor().post([this] { sender_->pump(); }); });
  }

  ~Impl() {
    close(std::chrono::milliseconds(0));
    // Refusals are posted; what their callbacks produce now is dropped, or this might never end.
    ending_.store(true);
    while (refusals_.load() > 0) driver_.run([] {});
    driver_.run([this] { sender_.reset(); });
  }

  // True: taken. False: the buffer is full, and nothing happened.
  bool offer(Record& record, Callback& callback) {
    tidelog::Result<bool> added = broken_ ? fail(*broken_) : accumulator_.add(record, callback);
    if (added) return *added;
    refuse(std::move(callback), added.error());
    return true;
  }

  void produce(Record record, Callback callback) {
    while (!offer(record, callback)) {
      if (driver_.on_thread()) {
        return refuse(std::move(callback),
                      tidelog::Error(ErrorCode::kOverloaded,
                                     "the producer's buffer is full, and a callback cannot wait "
                                     "for room"));
      }
      accumulator_.wait_for_room(record);
    }
  }

  bool flush(std::chrono::milliseconds deadline) {
    if (driver_.on_thread()) return false;  // waiting here would stop what is waited for
    const auto until = std::chrono::steady_clock::now() + core::bounded(deadline);
    return accumulator_.wait_flushed(accumulator_.begin_flush(), until);
  }

  bool close(std::chrono::milliseconds deadline) {
    accumulator_.close();
    if (broken_) return true;
    const auto until = std::chrono::steady_clock::now() + core::bounded(deadline);
    const bool all_settled = flush(deadline);
    if (!all_settled) gave_up_.store(true);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    const bool ended = driver_.run_within(core::bounded(left) + core::kCallbackPatience,
                                          [this] { sender_->abandon(); });
    return ended && !gave_up_.load();
  }

  Statistics statistics() const { return accumulator_.statistics(); }

 private:
  // Reports a record that was not accepted, on the library's thread like all others.
  void refuse(Callback callback, const tidelog::Error& error) {
    accumulator_.count({.records_failed = 1});
    if (!callback || ending_.load()) return;
    refusals_.fetch_add(1);
    driver_.executor().post([this, callback = std::move(callback), error] {
      callback(Result<Delivery>(core::to_public(error)));
      refusals_.fetch_sub(1);
    });
  }

  std::optional<tidelog::Error> broken_;  // options that cannot work: every record fails
  core::Accumulator accumulator_;
  std::atomic<int> refusals_{0};
  std::atomic<bool> ending_{false};   // the destructor runs
  std::atomic<bool> gave_up_{false};  // close() left something to be settled without a broker
  core::Driver driver_;
  std::unique_ptr<core::Sender> sender_;  // lives on the driver's thread
};

Producer::Producer(ProducerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Producer::~Producer() = default;

void Producer::produce(Record record, Callback callback) {
  impl_->produce(std::move(record), std::move(callback));
}

std::future<Result<Delivery>> Producer::produce(Record record) {
  auto promise = std::make_shared<std::promise<Result<Delivery>>>();
  auto future = promise->get_future();
  impl_->produce(std::move(record),
                 [promise](const Result<Delivery>& delivery) { promise->set_value(delivery); });
  return future;
}

bool Producer::try_produce(Record record, Callback callback) {
  return impl_->offer(record, callback);
}

bool Producer::flush(std::chrono::milliseconds deadline) { return impl_->flush(deadline); }
bool Producer::close(std::chrono::milliseconds deadline) { return impl_->close(deadline); }
Producer::Statistics Producer::statistics() const { return impl_->statistics(); }

}  // namespace tidelog::client
