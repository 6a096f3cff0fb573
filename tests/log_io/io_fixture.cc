#include "tests/log_io/io_fixture.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "log/io/make_io_queue.h"
#include "log/io/system_file_system.h"
#include "tests/sim/sim_io_queue.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::log::io {
namespace {

class MachineWorld final : public IoWorld {
 public:
  MachineWorld(IoBackend backend, const StorageProfile& profile)
      : backend_(backend), profile_(profile), files_(profile.direct) {
    executor_.set_turn_hook([this] {
      if (queue_ != nullptr) queue_->submit();
      if (condition_ && condition_()) executor_.stop();
    });
  }
  ~MachineWorld() override { end_queue(); }

  FileSystem& files() override { return files_; }
  Executor& executor() override { return executor_; }
  IoQueue& queue() override {
    if (queue_ == nullptr) {
      queue_ = make_io_queue(backend_, profile_, executor_,
                             {.watch =
                                  [this](int fd, std::move_only_function<void()> readable) {
                                    executor_.watch_eventfd(fd, std::move(readable));
                                  },
                              .unwatch = [this](int fd) { executor_.unwatch_eventfd(fd); }})
                   .value();
    }
    return *queue_;
  }
  void end_queue() override { queue_.reset(); }
  std::string path(const std::string& name) override { return directory_.path() + "/" + name; }

  void run_until(const std::function<bool()>& condition) override {
    run(condition, std::chrono::seconds(10));
    EXPECT_TRUE(condition()) << "not within ten seconds";
  }
  void run_for(std::chrono::milliseconds time) override {
    run([] { return false; }, time);
  }

 private:
  void run(std::function<bool()> condition, std::chrono::milliseconds limit) {
    condition_ = std::move(condition);
    const TimerId timer = executor_.run_after(limit, [this] { executor_.stop(); });
    executor_.post([] {});  // the first turn checks the condition
    executor_.run();
    executor_.cancel(timer);
    condition_ = nullptr;
  }

  const IoBackend backend_;
  const StorageProfile profile_;
  TemporaryDirectory directory_;
  SystemFileSystem files_;
  wire::AsioExecutor executor_;
  std::unique_ptr<IoQueue> queue_;
  std::function<bool()> condition_;
};

class SimulatedWorld final : public IoWorld {
 public:
  FileSystem& files() override { return disk_; }
  Executor& executor() override { return executor_; }
  IoQueue& queue() override {
    if (queue_ == nullptr) queue_ = std::make_unique<sim::SimIoQueue>(disk_, executor_);
    return *queue_;
  }
  void end_queue() override { queue_.reset(); }
  std::string path(const std::string& name) override { return name; }
  void run_until(const std::function<bool()>& condition) override {
    executor_.clear_end_of_turn_hooks();
    executor_.at_end_of_turn([this] {
      if (queue_ != nullptr) queue_->submit();
    });
    EXPECT_TRUE(executor_.run_until(condition, std::chrono::seconds(10)));
  }
  void run_for(std::chrono::milliseconds time) override { executor_.run_for(time); }

 private:
  sim::SimDisk disk_;
  sim::SimExecutor executor_;
  std::unique_ptr<sim::SimIoQueue> queue_;
};

}  // namespace

std::string TemporaryDirectory::default_parent() {
  const char* parent = std::getenv("TMPDIR");
  return parent != nullptr && *parent != '\0' ? parent : "/tmp";
}

TemporaryDirectory::TemporaryDirectory(const std::string& parent)
    : path_(parent + "/tidelog-io-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "no directory below " << parent;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string to_string(World world) {
  switch (world) {
    case World::kRingDirect:
      return "RingDirect";
    case World::kRingFdatasync:
      return "RingFdatasync";
    case World::kRingBuffered:
      return "RingBuffered";
    case World::kThreadsDirect:
      return "ThreadsDirect";
    case World::kThreadsBuffered:
      return "ThreadsBuffered";
    case World::kSimulated:
      return "Simulated";
  }
  return "Unknown";
}

std::unique_ptr<IoWorld> IoWorld::make(World world, std::string& why_not) {
  if (world == World::kSimulated) return std::make_unique<SimulatedWorld>();
  const bool threads = world == World::kThreadsDirect || world == World::kThreadsBuffered;
  const TemporaryDirectory directory;
  const IoBackend backend = threads ? IoBackend::kThreads : IoBackend::kRing;
  Result<StorageProfile> profile = probe_storage(directory.path(), {.backend = backend});
  if (!profile) {
    why_not = profile.error().to_string();
    return nullptr;
  }
  if (world == World::kRingBuffered || world == World::kThreadsBuffered) {
    profile->direct = profile->dsync = false;
  } else if (!profile->direct || !profile->dsync) {
    why_not = "the temporary directory takes no O_DIRECT: " + profile->summary;
    return nullptr;
  }
  if (world == World::kRingFdatasync) profile->dsync = false;
  return std::make_unique<MachineWorld>(backend, *profile);
}

Buffer pattern(std::size_t blocks, char fill) {
  Buffer buffer = Buffer::allocate(blocks * kBlockBytes);
  for (std::size_t block = 0; block < blocks; ++block) {
    std::memset(buffer.data() + block * kBlockBytes, fill + static_cast<int>(block % 26),
                kBlockBytes);
  }
  return buffer;
}

}  // namespace tidelog::log::io
