#include "client/driver.h"

#include <pthread.h>

#include <future>
#include <latch>
#include <thread>

#include "base/check.h"
#include "client/durations.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::client_core {
namespace {

// Unused buffers kept for the next batches and answers.
constexpr std::size_t kRetainedBytesMax = 16 * 1024 * 1024;

}  // namespace

struct Driver::Loop {
  wire::AsioExecutor executor;
  wire::AsioNetwork network{executor};
  std::thread thread;
};

Driver::Driver()
    : buffers_(std::make_shared<BufferPool>(kRetainedBytesMax)), loop_(std::make_unique<Loop>()) {
  loop_->thread = std::thread([loop = loop_.get()] {
    pthread_setname_np(pthread_self(), "tidelog-client");
    loop->executor.run();
  });
}

Driver::~Driver() {
  TIDELOG_CHECK(!on_thread(), "a client object must not be destroyed inside its own callback");
  loop_->executor.stop();
  loop_->thread.join();
}

Executor& Driver::executor() { return loop_->executor; }
wire::Network& Driver::network() { return loop_->network; }

void Driver::run(const std::function<void()>& task) {
  if (on_thread()) return task();
  // Shared, so that waking the caller does not race with its leaving.
  const auto done = std::make_shared<std::latch>(1);
  loop_->executor.post([&task, done] {
    task();
    done->count_down();
  });
  done->wait();
}

bool Driver::run_within(std::chrono::milliseconds patience, std::function<void()> task) {
  if (on_thread()) {
    task();
    return true;
  }
  const auto done = std::make_shared<std::promise<void>>();
  auto ran = done->get_future();
  loop_->executor.post([task = std::move(task), done] {
    task();
    done->set_value();
  });
  return ran.wait_for(bounded(patience)) == std::future_status::ready;
}

bool Driver::on_thread() const { return loop_->executor.on_loop_thread(); }

Result<PoolOptions> to_pool_options(const client::ConnectOptions& options) {
  PoolOptions pool;
  pool.connection.client_name = options.client_name;
  pool.connection.connect_timeout = bounded(options.connect_timeout);
  pool.connection.request_timeout = bounded(options.request_timeout);
  pool.backoff_min = bounded(options.backoff_min);
  pool.backoff_max = bounded(options.backoff_max);
  pool.log = options.log;
  for (const std::string& broker : options.brokers) {
    TIDELOG_ASSIGN(HostPort address, parse_address(broker));
    pool.seeds.push_back(std::move(address));
  }
  if (pool.seeds.empty()) return fail(ErrorCode::kInvalidArgument, "no broker address was given");
  return pool;
}

}  // namespace tidelog::client_core
