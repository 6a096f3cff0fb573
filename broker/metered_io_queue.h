// A disk queue that measures another one: how long durable writes, syncs and reads took, and how
// many are under way. Durable writes are the journal's, syncs the segments'.
#pragma once

#include <memory>

#include "base/clock.h"
#include "broker/metrics.h"
#include "log/io/io_queue.h"

namespace tidelog::broker {

// Thread: the shard's that `metrics` belongs to.
class MeteredIoQueue final : public log::io::IoQueue {
 public:
  // `clock` and `metrics` outlive the queue.
  MeteredIoQueue(std::unique_ptr<log::io::IoQueue> queue, const Clock& clock,
                 ShardMetrics& metrics);

  void write(log::io::File& file, FilePosition position,
             std::span<const std::span<const std::byte>> pieces, log::io::Durability durability,
             WriteCallback done) override;
  void read(log::io::File& file, FilePosition position, std::span<std::byte> into,
            ReadCallback done) override;
  void sync(log::io::File& file, WriteCallback done) override;
  void submit() override { queue_->submit(); }
  Result<> hold(std::shared_ptr<log::io::DirectoryLock> lock) override {
    return queue_->hold(std::move(lock));
  }
  std::size_t in_flight() const override { return queue_->in_flight(); }
  const log::io::IoCounters& counters() const override { return queue_->counters(); }
  std::string_view description() const override { return queue_->description(); }

 private:
  // `done`, and before it: how long it took since now.
  template <typename T>
  std::move_only_function<void(Result<T>)> timed(LatencyHistogram& latency,
                                                 std::move_only_function<void(Result<T>)> done);

  const std::unique_ptr<log::io::IoQueue> queue_;
  const Clock& clock_;
  ShardMetrics& metrics_;
};

}  // namespace tidelog::broker
