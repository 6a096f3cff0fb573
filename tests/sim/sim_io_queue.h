// The IoQueue of the simulated disk: operations complete in virtual time, in any order.
//
// What was gathered goes in flight with submit(); from there until its completion a write may be on
// the disk in any part. Completions come to the executor as posted tasks. When the disk's power is
// off nothing completes any more; the callbacks are never called. The memory of a write must keep
// its bytes until it completes (CHECKed). Short writes (DiskFault::kShortWrite) are continued
// inside, as the interface says.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "log/io/io_queue.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_executor.h"

namespace tidelog::sim {

// What the choice of a latency may look at.
struct SimIoOperation {
  DiskOperation operation;
  std::string_view path;
  FilePosition position;
  std::uint64_t length = 0;
  std::uint64_t number = 0;  // rises with every operation of the queue
};

struct SimIoOptions {
  std::uint64_t seed = 1;
  // How long an operation takes; empty: 20 to 400 µs by seed, so that any order happens.
  std::function<std::chrono::microseconds(const SimIoOperation&)> latency = nullptr;
};

class SimIoQueue final : public log::io::IoQueue {
 public:
  // Disk and executor outlive the queue.
  SimIoQueue(SimDisk& disk, SimExecutor& executor, SimIoOptions options = {});
  ~SimIoQueue() override;

  void write(log::io::File& file, FilePosition position,
             std::span<const std::span<const std::byte>> pieces, log::io::Durability durability,
             WriteCallback done) override;
  void read(log::io::File& file, FilePosition position, std::span<std::byte> into,
            ReadCallback done) override;
  void sync(log::io::File& file, WriteCallback done) override;
  // A simulated process ends with all it has under way.
  Result<> hold(std::shared_ptr<log::io::DirectoryLock> /*lock*/) override { return {}; }
  void submit() override;
  std::size_t in_flight() const override;
  const log::io::IoCounters& counters() const override;
  std::string_view description() const override { return "simulated disk"; }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tidelog::sim
