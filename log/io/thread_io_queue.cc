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

// Calls again what a signal interrupted, and, a little later, what the kernel lacked memory for.
template <typename Call>
ssize_t persist(int retries_max, Call call) {
  for (int retries = 0;;) {
    const ssize_t result = call();
    if (result >= 0 || (errno != EINTR && errno != EAGAIN)) return result;
    if (errno == EINTR) continue;
    if (retries++ == retries_max) return result;
    std::this_thread::sleep_for(kRetryAfter);
  }
}

Result<> write_now(SystemFile& file, GatherCursor& cursor, bool durable,
                   const ThreadIoOptions& options) {
  // Where there is a page cache, an error that a write with RWF_DSYNC reports may be another
  // write's.
  const bool dsync = durable && options.dsync && file.direct();
  while (!cursor.done()) {
    const ssize_t put = persist(options.retries_max, [&] {
      const std::span<const iovec> pieces = cursor.next();
      return ::pwritev2(file.fd(), pieces.data(), static_cast<int>(pieces.size()),
                        static_cast<off_t>(cursor.position().value()), dsync ? RWF_DSYNC : 0);
    });
    if (put < 0) return fail(storage_error(errno, "write", file.path()));
    if (!cursor.advance(static_cast<std::uint64_t>(put))) {
      return fail(storage_error(ENOSPC, "write", file.path()));
    }
  }
  return durable && !dsync ? file.sync_data() : Result<>();
}

Result<std::size_t> read_now(SystemFile& file, FilePosition position, std::span<std::byte> into,
                             int retries_max) {
  std::size_t done = 0;
  for (;;) {
    const ssize_t got = persist(retries_max, [&] {
      return ::pread(file.fd(), into.data() + done, into.size() - done,
                     static_cast<off_t>(position.value() + done));
    });
    if (got < 0) return fail(storage_error(errno, "read", file.path()));
    done += static_cast<std::size_t>(got);
    if (got == 0 || done == into.size()) return done;
    TIDELOG_ASSIGN(const bool ended,
                   at_end_of_file(file.fd(), file.path(), position.value() + done));
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
      [&file = system_file(file), cursor = std::move(cursor),
       durable = durability == Durability::kDurable,
       &options = options_]() mutable { return write_now(file, cursor, durable, options); },
      std::move(done));
}

void ThreadIoQueue::read(File& file, FilePosition position, std::span<std::byte> into,
                         ReadCallback done) {
  check_read_request(position, into);
  ++state_->counters.reads;
  gather<std::size_t>(
      [&file = system_file(file), position, into, retries_max = options_.retries_max] {
        return read_now(file, position, into, retries_max);
      },
      std::move(done));
}

void ThreadIoQueue::sync(File& file, WriteCallback done) {
  ++state_->counters.syncs;
  gather<void>([&file = system_file(file)] { return file.sync_data(); }, std::move(done));
}

void ThreadIoQueue::submit() {
  if (gathered_.empty()) return;
  ++state_->counters.submits;
  pool_->give(gathered_);
}

std::size_t ThreadIoQueue::in_flight() const { return state_->in_flight; }

const IoCounters& ThreadIoQueue::counters() const { return state_->counters; }

}  // namespace tidelog::log::io
