#include "broker/metered_io_queue.h"

#include <utility>

namespace tidelog::broker {

using log::io::Durability;
using log::io::File;

MeteredIoQueue::MeteredIoQueue(std::unique_ptr<log::io::IoQueue> queue, const Clock& clock,
                               ShardMetrics& metrics)
    : queue_(std::move(queue)), clock_(clock), metrics_(metrics) {}

template <typename T>
std::move_only_function<void(Result<T>)> MeteredIoQueue::timed(
    LatencyHistogram& latency, std::move_only_function<void(Result<T>)> done) {
  metrics_.disk_operations_in_flight.add();
  return [this, &latency, since = clock_.now(), done = std::move(done)](Result<T> result) mutable {
    metrics_.disk_operations_in_flight.subtract();
    latency.record(clock_.now() - since);
    if (!result) metrics_.disk_errors.add();
    done(std::move(result));
  };
}

void MeteredIoQueue::write(File& file, FilePosition position,
                           std::span<const std::span<const std::byte>> pieces,
                           Durability durability, WriteCallback done) {
  LatencyHistogram& latency = durability == Durability::kDurable ? metrics_.journal_write_latency
                                                                 : metrics_.segment_write_latency;
  queue_->write(file, position, pieces, durability, timed<void>(latency, std::move(done)));
}

void MeteredIoQueue::read(File& file, FilePosition position, std::span<std::byte> into,
                          ReadCallback done) {
  metrics_.disk_read_bytes.add(into.size());
  queue_->read(file, position, into,
               timed<std::size_t>(metrics_.disk_read_latency, std::move(done)));
}

void MeteredIoQueue::sync(File& file, WriteCallback done) {
  queue_->sync(file, timed<void>(metrics_.segment_sync_latency, std::move(done)));
}

}  // namespace tidelog::broker
