#include "base/blocking_pool.h"

#include <pthread.h>

#include "base/check.h"

namespace tidelog {

BlockingPool::BlockingPool(const std::string& name, int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name] {
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      work();
    });
  }
}

BlockingPool::~BlockingPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BlockingPool::run(Task job, Executor& home, Task done) {
  {
    const std::lock_guard lock(mutex_);
    items_.push_back({std::move(job), &home, std::move(done)});
  }
  wake_.notify_one();
}

std::size_t BlockingPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return items_.size();
}

void BlockingPool::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopping_ || !items_.empty(); });
    if (items_.empty()) return;
    Item item = std::move(items_.front());
    items_.pop_front();
    lock.unlock();
    item.job();
    item.job = nullptr;
    item.home->post(std::move(item.done));
  }
}

#ifndef NDEBUG
namespace {
thread_local bool nonblocking_thread = false;
}
void mark_nonblocking_thread() { nonblocking_thread = true; }
void check_may_block(const char* what) { TIDELOG_CHECK(!nonblocking_thread, what); }
#else
void mark_nonblocking_thread() {}
void check_may_block(const char*) {}
#endif

}  // namespace tidelog
