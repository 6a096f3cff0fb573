#include "broker/metered_io_queue.h"

#include <gtest/gtest.h>

#include "base/buffer_pool.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_io_queue.h"

namespace tidelog::broker {
namespace {

using log::io::Durability;
using log::io::kBlockBytes;
using sim::SimIoOperation;
using std::chrono::microseconds;

// A disk on which every operation takes `latency_`.
class MeteredIoQueueTest : public ::testing::Test {
 protected:
  MeteredIoQueueTest() {
    disk_.put("f", std::vector<std::byte>(4 * kBlockBytes));
    file_ = std::move(disk_.open("f", {.mode = log::io::OpenMode::kWrite, .direct = true})).value();
  }

  void write(Durability durability) {
    const std::span<const std::byte> piece = buffer_.bytes();
    queue_.write(*file_, FilePosition(0), {&piece, 1}, durability,
                 [this](const Result<>&) { ++settled_; });
    queue_.submit();
  }

  static std::uint64_t count(const LatencyHistogram& latency) {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i <= LatencyHistogram::kUpperBoundsUs.size(); ++i) {
      count += latency.bucket(i);
    }
    return count;
  }

  microseconds latency_{150};
  sim::SimDisk disk_;
  sim::SimExecutor executor_;
  BrokerMetrics metrics_{1, "0", [] { return BrokerGauges{}; }};
  ShardMetrics& shard_ = metrics_.shard(0);
  MeteredIoQueue queue_{
      std::make_unique<sim::SimIoQueue>(
          disk_, executor_,
          sim::SimIoOptions{.latency = [this](const SimIoOperation&) { return latency_; }}),
      executor_.clock(), shard_};
  std::unique_ptr<log::io::File> file_;
  Buffer buffer_ = Buffer::allocate(kBlockBytes);
  int settled_ = 0;
};

TEST_F(MeteredIoQueueTest, TellsDurableWritesFromPlainOnesSyncsAndReads) {
  write(Durability::kDurable);
  executor_.run_until_idle();
  EXPECT_EQ(count(shard_.journal_write_latency), 1U);
  EXPECT_EQ(shard_.journal_write_latency.sum_us(), 150U);

  latency_ = microseconds(70);
  write(Durability::kPlain);
  executor_.run_until_idle();
  EXPECT_EQ(shard_.segment_write_latency.sum_us(), 70U);

  latency_ = microseconds(900);
  queue_.sync(*file_, [this](const Result<>&) { ++settled_; });
  queue_.submit();
  executor_.run_until_idle();
  EXPECT_EQ(shard_.segment_sync_latency.sum_us(), 900U);

  latency_ = microseconds(30);
  queue_.read(*file_, FilePosition(0), buffer_.bytes(),
              [this](const Result<std::size_t>&) { ++settled_; });
  queue_.submit();
  executor_.run_until_idle();
  EXPECT_EQ(shard_.disk_read_latency.sum_us(), 30U);
  EXPECT_EQ(shard_.disk_read_bytes.value(), kBlockBytes);
  EXPECT_EQ(count(shard_.journal_write_latency), 1U);
  EXPECT_EQ(settled_, 4);
}

TEST_F(MeteredIoQueueTest, ShowsWhatIsUnderWayUntilItSettles) {
  write(Durability::kDurable);
  EXPECT_EQ(shard_.disk_operations_in_flight.value(), 1U);
  EXPECT_EQ(queue_.in_flight(), 1U);
  executor_.run_until_idle();
  EXPECT_EQ(shard_.disk_operations_in_flight.value(), 0U);
  EXPECT_EQ(shard_.disk_errors.value(), 0U);
}

TEST_F(MeteredIoQueueTest, CountsWhatFails) {
  disk_.fail_nth(sim::DiskOperation::kWrite, 1, sim::DiskFault::kIoError);
  write(Durability::kDurable);
  executor_.run_until_idle();
  EXPECT_EQ(settled_, 1);
  EXPECT_EQ(shard_.disk_errors.value(), 1U);
  EXPECT_EQ(count(shard_.journal_write_latency), 1U);
}

}  // namespace
}  // namespace tidelog::broker
