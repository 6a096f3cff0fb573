#include "tests/sim/sim_io_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "base/check.h"
#include "log/io/io_requirements.h"
#include "tests/sim/sim_file.h"

namespace tidelog::sim {

using log::io::Durability;

namespace {

struct Write {
  std::shared_ptr<SimInode> inode;
  std::string path;
  std::uint64_t position = 0;
  std::vector<std::span<const std::byte>> pieces;
  std::uint64_t length = 0;
  std::uint64_t written = 0;    // whole, by attempts that ended
  std::uint64_t attempt = 0;    // bytes of the attempt in flight
  std::uint64_t in_flight = 0;  // its name in the inode
  std::optional<DiskFault> fault;
  bool durable = false;
  log::io::IoQueue::WriteCallback done;

  std::string describe(std::string_view what) const {
    return fmt::format("{} at {}, {} bytes, {}", path, position + written, attempt, what);
  }
  std::vector<std::byte> gather(std::uint64_t skip, std::uint64_t length_wanted) const {
    std::vector<std::byte> bytes;
    bytes.reserve(length);
    for (const auto& piece : pieces) bytes.insert(bytes.end(), piece.begin(), piece.end());
    bytes.resize(skip + length_wanted);
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(skip));
    return bytes;
  }
};

SimFile& simulated(log::io::File& file) {
  auto* sim_file = dynamic_cast<SimFile*>(&file);
  TIDELOG_CHECK(sim_file != nullptr, "the file belongs to the simulated disk");
  return *sim_file;
}

}  // namespace

struct SimIoQueue::State : std::enable_shared_from_this<SimIoQueue::State> {
  State(SimDisk& the_disk, SimExecutor& the_executor, SimIoOptions the_options)
      : disk(the_disk),
        executor(the_executor),
        options(std::move(the_options)),
        random(options.seed) {}

  // Calls `then` with this state after the operation's latency, unless the queue is gone by then.
  template <typename Then>
  void after_latency(DiskOperation operation, std::string_view path, std::uint64_t position,
                     std::uint64_t length, Then then) {
    const SimIoOperation about{operation, path, FilePosition(position), length, next_number++};
    const std::chrono::microseconds delay =
        options.latency ? options.latency(about)
                        : std::chrono::microseconds(random.between(20, 400));
    executor.happen_after(delay, [weak = weak_from_this(), then = std::move(then)]() mutable {
      if (const std::shared_ptr<State> self = weak.lock()) then(*self);
    });
  }

  // Hands `result` to `done` as a task of its own. The operation counts as in flight until then.
  template <typename Callback, typename Value>
  void complete(Callback done, Value result) {
    executor.post(
        [weak = weak_from_this(), done = std::move(done), result = std::move(result)]() mutable {
          const std::shared_ptr<State> self = weak.lock();
          if (self == nullptr) return;
          --self->in_flight;
          done(std::move(result));
        });
  }

  void begin_attempt(std::shared_ptr<Write> write) {
    const std::uint64_t left = write->length - write->written;
    write->fault = disk.take_fault(DiskOperation::kWrite);
    write->attempt = left;
    if (write->fault == DiskFault::kShortWrite) {
      write->attempt = random.below(left / kSectorBytes) * kSectorBytes;
      if (write->attempt == 0) write->attempt = kSectorBytes;
    }
    if (disk.point(DiskOperation::kWrite, write->describe("is submitted")) ==
        SimDisk::Power::kOff) {
      return;
    }
    write->in_flight = write->inode->begin_write(write->position + write->written,
                                                 write->gather(write->written, write->attempt));
    after_latency(DiskOperation::kWrite, write->path, write->position + write->written,
                  write->attempt, [write](State& self) { self.end_attempt(write); });
  }

  void end_attempt(const std::shared_ptr<Write>& write) {
    if (disk.point(DiskOperation::kWrite, write->describe("completes")) != SimDisk::Power::kOn) {
      return;
    }
    SimInode& inode = *write->inode;
    TIDELOG_CHECK(std::ranges::equal(inode.bytes_in_flight(write->in_flight),
                                     write->gather(write->written, write->attempt)),
                  "the memory of a write changed while it was in flight");
    if (write->fault == DiskFault::kIoError) {
      inode.fail_write(write->in_flight, random);
      complete(
          std::move(write->done),
          Result<>(fail(ErrorCode::kStorageFailed,
                        fmt::format("write '{}': input/output error (injected)", write->path))));
      return;
    }
    if (write->fault == DiskFault::kNoSpace ||
        !disk.has_space(inode, write->position + write->written, write->attempt)) {
      inode.drop_write(write->in_flight);
      complete(std::move(write->done),
               Result<>(fail(ErrorCode::kStorageFull,
                             fmt::format("write '{}': no space left", write->path))));
      return;
    }
    if (write->fault == DiskFault::kFailedSync && write->durable) {
      inode.complete_write(write->in_flight, false);
      inode.fail_sync(inode.newest_change());
      complete(
          std::move(write->done),
          Result<>(fail(ErrorCode::kStorageFailed,
                        fmt::format("sync '{}': input/output error (injected)", write->path))));
      return;
    }
    inode.complete_write(write->in_flight, write->durable);
    write->written += write->attempt;
    if (write->written < write->length) {
      begin_attempt(write);
    } else {
      complete(std::move(write->done), Result<>());
    }
  }

  SimDisk& disk;
  SimExecutor& executor;
  const SimIoOptions options;
  SimRandom random;
  std::uint64_t next_number = 1;
  std::vector<Task> gathered;
  std::size_t in_flight = 0;
  log::io::IoCounters counters;
};

SimIoQueue::SimIoQueue(SimDisk& disk, SimExecutor& executor, SimIoOptions options)
    : state_(std::make_shared<State>(disk, executor, std::move(options))) {}

SimIoQueue::~SimIoQueue() = default;

void SimIoQueue::write(log::io::File& file, FilePosition position,
                       std::span<const std::span<const std::byte>> pieces, Durability durability,
                       WriteCallback done) {
  SimFile& target = simulated(file);
  TIDELOG_CHECK(target.writable(), "the file is open for reading");
  auto write = std::make_shared<Write>();
  write->length = log::io::check_write_request(position, pieces);
  write->inode = target.inode();
  write->path = file.path();
  write->position = position.value();
  write->pieces.assign(pieces.begin(), pieces.end());
  write->durable = durability == Durability::kDurable;
  write->done = std::move(done);
  State& state = *state_;
  ++state.in_flight;
  ++state.counters.writes;
  state.counters.write_bytes += write->length;
  state.gathered.push_back([&state, write = std::move(write)] { state.begin_attempt(write); });
}

void SimIoQueue::read(log::io::File& file, FilePosition position, std::span<std::byte> into,
                      ReadCallback done) {
  log::io::check_read_request(position, into);
  SimFile& source = simulated(file);
  State& state = *state_;
  ++state.in_flight;
  ++state.counters.reads;
  state.gathered.push_back([&state, inode = source.inode(), path = file.path(), position, into,
                            done = std::move(done)]() mutable {
    state.after_latency(
        DiskOperation::kRead, path, position.value(), into.size(),
        [inode, path, position, into, done = std::move(done)](State& self) mutable {
          if (self.disk.powered_off()) return;
          if (const Result<> entered = self.disk.enter(DiskOperation::kRead, path); !entered) {
            self.complete(std::move(done), Result<std::size_t>(fail(entered.error())));
            return;
          }
          if (!inode->readable(position.value(), into.size())) {
            self.complete(std::move(done), Result<std::size_t>(fail(
                                               ErrorCode::kStorageFailed,
                                               fmt::format("read '{}': a spoiled block", path))));
            return;
          }
          const std::size_t length = inode->read_racing(position.value(), into, self.random);
          self.counters.read_bytes += length;
          self.complete(std::move(done), Result<std::size_t>(length));
        });
  });
}

void SimIoQueue::sync(log::io::File& file, WriteCallback done) {
  SimFile& target = simulated(file);
  State& state = *state_;
  ++state.in_flight;
  ++state.counters.syncs;
  const std::uint64_t covered = target.inode()->newest_change();
  state.gathered.push_back([&state, inode = target.inode(), path = file.path(), covered,
                            done = std::move(done)]() mutable {
    state.after_latency(DiskOperation::kSync, path, 0, 0,
                        [inode, path, covered, done = std::move(done)](State& self) mutable {
                          if (self.disk.powered_off()) return;
                          const Result<> entered = self.disk.enter(DiskOperation::kSync, path);
                          if (!entered) {
                            inode->fail_sync(covered);
                            self.complete(std::move(done), entered);
                            return;
                          }
                          if (self.disk.point(DiskOperation::kSync, path) != SimDisk::Power::kOn)
                            return;
                          inode->sync(covered);
                          self.complete(std::move(done), Result<>());
                        });
  });
}

void SimIoQueue::submit() {
  State& state = *state_;
  if (state.gathered.empty()) return;
  ++state.counters.submits;
  std::vector<Task> tasks = std::exchange(state.gathered, {});
  for (Task& task : tasks) task();
}

std::size_t SimIoQueue::in_flight() const { return state_->in_flight; }

const log::io::IoCounters& SimIoQueue::counters() const { return state_->counters; }

}  // namespace tidelog::sim
