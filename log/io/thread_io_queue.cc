#include "log/io/thread_io_queue.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "log/io/gather_cursor.h"
#include "log/io/io_requirements.h"
#include "log/io/storage_error.h"
#include "log/io/system_file.h"

namespace tidelog::log::io {
namespace {

Result<> sync_now(int fd, const std::string& path) {
  while (::fdatasync(fd) != 0) {
    if (errno != EINTR) return fail(sync_error(errno, "sync", path));
  }
  return {};
}

Result<> write_now(int fd, const std::string& path, GatherCursor& cursor, bool durable,
                   bool dsync) {
  while (!cursor.done()) {
    const std::span<const iovec> pieces = cursor.next();
    const ssize_t put =
        ::pwritev2(fd, pieces.data(), static_cast<int>(pieces.size()),
                   static_cast<off_t>(cursor.position().value()), durable && dsync ? RWF_DSYNC : 0);
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put < 0) return fail(storage_error(errno, "write", path));
    if (!cursor.advance(static_cast<std::uint64_t>(put))) {
      return fail(storage_error(ENOSPC, "write", path));
    }
  }
  if (durable && !dsync) return sync_now(fd, path);
  return {};
}

Result<std::size_t> read_now(int fd, const std::string& path, FilePosition position,
                             std::span<std::byte> into) {
  std::size_t done = 0;
  for (;;) {
    const ssize_t got = ::pread(fd, into.data() + done, into.size() - done,
                                static_cast<off_t>(position.value() + done));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return fail(storage_error(errno, "read", path));
    done += static_cast<std::size_t>(got);
    if (got == 0 || done == into.size()) return done;
    TIDELOG_ASSIGN(const bool ended, at_end_of_file(fd, path, position.value() + done));
    if (ended) return done;
  }
}

}  // namespace

struct ThreadIoQueue::State {
  bool alive = true;
  std::size_t in_flight = 0;
  IoCounters counters;
};

struct ThreadIoQueue::Pool {
  explicit Pool(int count) {
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([this] {
        pthread_setname_np(pthread_self(), "tidelog-io");
        work();
      });
    }
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void give(std::vector<Task>& jobs_given) {
    const std::size_t count = jobs_given.size();
    {
      const std::lock_guard lock(mutex);
      std::ranges::move(jobs_given, std::back_inserter(jobs));
    }
    jobs_given.clear();
    if (count == 1) {
      wake.notify_one();
    } else {
      wake.notify_all();
    }
  }

  void work() {
    for (;;) {
      std::unique_lock lock(mutex);
      wake.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (jobs.empty()) return;
      Task job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      job();
    }
  }

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Task> jobs;
  bool stopping = false;
  std::vector<std::thread> threads;
};

ThreadIoQueue::ThreadIoQueue(Executor& executor, const ThreadIoOptions& options)
    : executor_(executor),
      options_(options),
      state_(std::make_shared<State>()),
      pool_(std::make_unique<Pool>(options.threads)) {}

ThreadIoQueue::~ThreadIoQueue() {
  state_->alive = false;
  pool_.reset();
}

template <typename Value, typename Job, typename Callback>
void ThreadIoQueue::gather(Job job, Callback done) {
  ++state_->in_flight;
  gathered_.push_back([&executor = executor_, state = state_, job = std::move(job),
                       done = std::move(done)]() mutable {
    executor.post([state = std::move(state), result = Result<Value>(job()),
                   done = std::move(done)]() mutable {
      if (!state->alive) return;
      --state->in_flight;
      if constexpr (std::is_same_v<Value, std::size_t>) {
        if (result) state->counters.read_bytes += *result;
      }
      done(std::move(result));
    });
  });
}

void ThreadIoQueue::write(File& file, FilePosition position,
                          std::span<const std::span<const std::byte>> pieces, Durability durability,
                          WriteCallback done) {
  const std::uint64_t length = check_write_request(position, pieces);
  TIDELOG_CHECK(system_file(file).writable(), "the file is open for reading");
  ++state_->counters.writes;
  state_->counters.write_bytes += length;
  GatherCursor cursor;
  cursor.reset(position, pieces);
  gather<void>(
      [fd = system_file(file).fd(), path = file.path(), cursor = std::move(cursor),
       durable = durability == Durability::kDurable,
       dsync = options_.dsync]() mutable { return write_now(fd, path, cursor, durable, dsync); },
      std::move(done));
}

void ThreadIoQueue::read(File& file, FilePosition position, std::span<std::byte> into,
                         ReadCallback done) {
  check_read_request(position, into);
  ++state_->counters.reads;
  gather<std::size_t>([fd = system_file(file).fd(), path = file.path(), position,
                       into] { return read_now(fd, path, position, into); },
                      std::move(done));
}

void ThreadIoQueue::sync(File& file, WriteCallback done) {
  ++state_->counters.syncs;
  gather<void>([fd = system_file(file).fd(), path = file.path()] { return sync_now(fd, path); },
               std::move(done));
}

void ThreadIoQueue::submit() {
  if (gathered_.empty()) return;
  ++state_->counters.submits;
  pool_->give(gathered_);
}

std::size_t ThreadIoQueue::in_flight() const { return state_->in_flight; }

const IoCounters& ThreadIoQueue::counters() const { return state_->counters; }

}  // namespace tidelog::log::io
