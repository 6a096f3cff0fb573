#include "log/io/ring_io_queue.h"

#include <fmt/format.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "log/io/io_requirements.h"
#include "log/io/storage_error.h"

namespace tidelog::log::io {
namespace {

// liburing 2.3 declares io_uring_enable_rings() and does not export it.
bool enable(const io_uring& ring) {
  return ::syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr,
                   0) == 0;
}

std::string cause(int error_number) { return std::generic_category().message(error_number); }

}  // namespace

struct RingIoQueue::Kernel {
  ~Kernel() {
    if (open) io_uring_queue_exit(&ring);
  }

  io_uring ring{};
  bool open = false;
  bool enabled = false;
  UniqueFd event;
};

struct RingIoQueue::Operation {
  enum class Kind : std::uint8_t { kWrite, kRead, kSync };
  Kind kind = Kind::kSync;
  SystemFile* file = nullptr;
  bool dsync = false;      // carries RWF_DSYNC
  bool sync_next = false;  // a durable write without it
  bool syncing = false;    // a sync, or such a write in its second half
  GatherCursor cursor;
  FilePosition position;
  std::span<std::byte> into;
  std::size_t done_bytes = 0;
  int retries = 0;
  WriteCallback write_done;
  ReadCallback read_done;
  Result<std::size_t> result = 0;
};

Result<std::unique_ptr<RingIoQueue>> RingIoQueue::create(Executor& executor,
                                                         const RingOptions& options) {
  auto kernel = std::make_unique<Kernel>();
  // SINGLE_ISSUER binds the ring to the thread that enables it, hence the disabled start. Older
  // kernels refuse flags that they do not know.
  int error = -EINVAL;
  for (const unsigned flags :
       {IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED,
        IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED, 0U}) {
    io_uring_params params{};
    params.flags = flags;
    error = io_uring_queue_init_params(options.in_kernel_max, &kernel->ring, &params);
    if (error != 0) {
      if (error == -EINVAL) continue;
      break;
    }
    kernel->open = true;
    kernel->enabled = (flags & IORING_SETUP_R_DISABLED) == 0;
    if ((params.features & IORING_FEAT_NODROP) == 0) {
      return fail(ErrorCode::kUnsupportedFeature,
                  "this kernel's io_uring may drop completions (before Linux 5.5)");
    }
    break;
  }
  if (!kernel->open) {
    return fail(ErrorCode::kUnsupportedFeature,
                fmt::format("io_uring is not to be had: {}", cause(-error)));
  }
  kernel->event = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!kernel->event) {
    return fail(ErrorCode::kUnsupportedFeature, fmt::format("eventfd: {}", cause(errno)));
  }
  error = io_uring_register_eventfd(&kernel->ring, kernel->event.get());
  if (error != 0) {
    return fail(ErrorCode::kUnsupportedFeature,
                fmt::format("io_uring takes no eventfd: {}", cause(-error)));
  }
  RingOptions effective = options;
  effective.in_kernel_max = std::min(options.in_kernel_max, kernel->ring.sq.ring_entries);
  return std::unique_ptr<RingIoQueue>(
      new RingIoQueue(executor, std::move(effective), std::move(kernel)));
}

RingIoQueue::RingIoQueue(Executor& executor, RingOptions options, std::unique_ptr<Kernel> kernel)
    : executor_(executor),
      options_(std::move(options)),
      kernel_(std::move(kernel)),
      self_(std::make_shared<RingIoQueue*>(this)) {
  options_.watcher.watch(kernel_->event.get(), [this] { pump(); });
}

RingIoQueue::~RingIoQueue() {
  *self_ = nullptr;
  options_.watcher.unwatch(kernel_->event.get());
  if (retry_ != 0) executor_.cancel(retry_);
  io_uring& ring = kernel_->ring;
  const unsigned never_entered = io_uring_sq_ready(&ring);
  while (in_kernel_ > never_entered) {
    io_uring_cqe* cqe = nullptr;
    const int error = io_uring_wait_cqe(&ring, &cqe);
    if (error == -EINTR) continue;
    TIDELOG_CHECK(error == 0, "waiting for a ring to run dry failed");
    io_uring_cqe_seen(&ring, cqe);
    --in_kernel_;
  }
}

// A process that is killed does not wait for direct I/O: the kernel takes its ring apart later, and
// lets go of the files registered with it behind the last operation. A lock ends with the last of
// those who have its file.
Result<> RingIoQueue::hold(std::shared_ptr<DirectoryLock> lock) {
  const int fd = lock->fd();
  lock_ = std::move(lock);
  if (fd < 0) return {};
  const int error = io_uring_register_files(&kernel_->ring, &fd, 1);
  if (error == 0) return {};
  return fail(ErrorCode::kUnsupportedFeature,
              fmt::format("io_uring takes no file: {}; set storage.io=threads", cause(-error)));
}

RingIoQueue::Operation& RingIoQueue::take_operation(File& file) {
  if (free_.empty()) {
    operations_.push_back(std::make_unique<Operation>());
    free_.push_back(operations_.back().get());
  }
  Operation& operation = *free_.back();
  free_.pop_back();
  operation.file = &system_file(file);
  operation.syncing = false;
  operation.done_bytes = 0;
  operation.retries = 0;
  gathered_.push_back(&operation);
  ++in_flight_;
  return operation;
}

void RingIoQueue::write(File& file, FilePosition position,
                        std::span<const std::span<const std::byte>> pieces, Durability durability,
                        WriteCallback done) {
  const std::uint64_t length = check_write_request(position, pieces);
  TIDELOG_CHECK(system_file(file).writable(), "the file is open for reading");
  Operation& operation = take_operation(file);
  operation.kind = Operation::Kind::kWrite;
  // Where there is a page cache, an error that such a write reports may be another write's.
  operation.dsync =
      durability == Durability::kDurable && options_.dsync && operation.file->direct();
  operation.sync_next = durability == Durability::kDurable && !operation.dsync;
  operation.cursor.reset(position, pieces);
  operation.write_done = std::move(done);
  ++counters_.writes;
  counters_.write_bytes += length;
}

void RingIoQueue::read(File& file, FilePosition position, std::span<std::byte> into,
                       ReadCallback done) {
  check_read_request(position, into);
  Operation& operation = take_operation(file);
  operation.kind = Operation::Kind::kRead;
  operation.position = position;
  operation.into = into;
  operation.read_done = std::move(done);
  ++counters_.reads;
}

void RingIoQueue::sync(File& file, WriteCallback done) {
  Operation& operation = take_operation(file);
  operation.kind = Operation::Kind::kSync;
  operation.syncing = true;
  operation.write_done = std::move(done);
  ++counters_.syncs;
}

void RingIoQueue::submit() {
  if (!gathered_.empty()) {
    ++counters_.submits;
    for (Operation* operation : gathered_) {
      if (operation->syncing) {
        want_sync(*operation);
      } else {
        waiting_.push_back(operation);
      }
    }
    gathered_.clear();
  }
  pump();
}

void RingIoQueue::pump() {
  do {
    while (!waiting_.empty() && in_kernel_ < options_.in_kernel_max) {
      Operation& operation = *waiting_.front();
      waiting_.pop_front();
      prepare(operation);
      ++in_kernel_;
    }
    if (!enter_kernel()) break;
    reap();
    // Attempts that ended may have made room, or want to go on.
  } while (!waiting_.empty() && in_kernel_ < options_.in_kernel_max);
}

void RingIoQueue::prepare(Operation& operation) {
  io_uring_sqe* sqe = io_uring_get_sqe(&kernel_->ring);
  TIDELOG_CHECK(sqe != nullptr, "the ring has room for what is in the kernel");
  const int fd = operation.file->fd();
  if (operation.syncing) {
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
  } else if (operation.kind == Operation::Kind::kWrite) {
    const std::span<const iovec> pieces = operation.cursor.next();
    io_uring_prep_writev2(sqe, fd, pieces.data(), static_cast<unsigned>(pieces.size()),
                          operation.cursor.position().value(), operation.dsync ? RWF_DSYNC : 0);
  } else {
    const std::span<std::byte> left = operation.into.subspan(operation.done_bytes);
    // More than 1 GiB at once is cut short by the kernel anyway.
    const unsigned length = static_cast<unsigned>(std::min<std::size_t>(left.size(), 1U << 30));
    io_uring_prep_read(sqe, fd, left.data(), length,
                       operation.position.value() + operation.done_bytes);
  }
  io_uring_sqe_set_data(sqe, &operation);
}

// False: the kernel could not take everything now; a timer or the next completion tries again.
bool RingIoQueue::enter_kernel() {
  io_uring& ring = kernel_->ring;
  while (io_uring_sq_ready(&ring) > 0) {
    if (!kernel_->enabled) {
      TIDELOG_CHECK(enable(ring), "a ring could not be enabled");
      kernel_->enabled = true;
    }
    const int taken = io_uring_submit(&ring);
    if (taken >= 0) continue;
    if (taken == -EINTR) continue;
    TIDELOG_CHECK(taken == -EAGAIN || taken == -EBUSY,
                  fmt::format("io_uring refused a submission: {}", cause(-taken)));
    reap();
    retry_later();
    return false;
  }
  return true;
}

void RingIoQueue::retry_later() {
  if (retry_ != 0) return;
  retry_ = executor_.run_after(kRetryAfter, [this] {
    retry_ = 0;
    waiting_.insert(waiting_.end(), delayed_.begin(), delayed_.end());
    delayed_.clear();
    pump();
  });
}

void RingIoQueue::reap() {
  std::array<io_uring_cqe*, 64> batch{};
  for (;;) {
    const unsigned found = io_uring_peek_batch_cqe(&kernel_->ring, batch.data(), batch.size());
    if (found == 0) return;
    std::array<std::pair<Operation*, int>, 64> ended;
    for (unsigned i = 0; i < found; ++i) {
      ended[i] = {static_cast<Operation*>(io_uring_cqe_get_data(batch[i])), batch[i]->res};
    }
    io_uring_cq_advance(&kernel_->ring, found);
    in_kernel_ -= found;
    for (unsigned i = 0; i < found; ++i) attempt_ended(*ended[i].first, ended[i].second);
  }
}

void RingIoQueue::attempt_ended(Operation& operation, int result) {
  if (result == -EINTR) return waiting_.push_back(&operation);
  if (result == -EAGAIN && operation.retries++ < options_.retries_max) {
    delayed_.push_back(&operation);
    return retry_later();
  }
  if (operation.syncing) return sync_ended(operation, result);
  if (operation.kind == Operation::Kind::kWrite) return write_ended(operation, result);
  read_ended(operation, result);
}

void RingIoQueue::want_sync(Operation& operation) {
  operation.syncing = true;
  const auto [under_way, is_first] = syncs_.try_emplace(operation.file);
  if (!is_first) return under_way->second.push_back(&operation);
  waiting_.push_back(&operation);
}

void RingIoQueue::sync_ended(Operation& operation, int result) {
  SystemFile& file = *operation.file;
  if (result < 0) {
    file.note_failed_sync();
    finish(operation, fail(sync_error(-result, "sync", file.path())));
  } else if (const Result<> sound = file.check_syncs(); !sound) {
    finish(operation, fail(sound.error()));
  } else {
    finish(operation, 0);
  }
  const auto under_way = syncs_.find(&file);
  std::deque<Operation*> next = std::exchange(under_way->second, {});
  syncs_.erase(under_way);
  for (Operation* one : next) want_sync(*one);
}

void RingIoQueue::write_ended(Operation& operation, int result) {
  const std::string& path = operation.file->path();
  if (result < 0) return finish(operation, fail(storage_error(-result, "write", path)));
  if (!operation.cursor.advance(static_cast<std::uint64_t>(result))) {
    return finish(operation, fail(storage_error(ENOSPC, "write", path)));
  }
  if (!operation.cursor.done()) return waiting_.push_back(&operation);
  if (operation.sync_next) return want_sync(operation);
  finish(operation, 0);
}

void RingIoQueue::read_ended(Operation& operation, int result) {
  const std::string& path = operation.file->path();
  if (result < 0) return finish(operation, fail(storage_error(-result, "read", path)));
  operation.done_bytes += static_cast<std::size_t>(result);
  counters_.read_bytes += static_cast<std::uint64_t>(result);
  if (result == 0 || operation.done_bytes == operation.into.size()) {
    return finish(operation, operation.done_bytes);
  }
  const Result<bool> ended =
      at_end_of_file(operation.file->fd(), path, operation.position.value() + operation.done_bytes);
  if (!ended) return finish(operation, fail(ended.error()));
  if (*ended) return finish(operation, operation.done_bytes);
  waiting_.push_back(&operation);
}

void RingIoQueue::finish(Operation& operation, Result<std::size_t> result) {
  operation.result = std::move(result);
  finished_.push_back(&operation);
  if (std::exchange(callbacks_posted_, true)) return;
  executor_.post([self = self_] {
    if (*self != nullptr) (*self)->run_callbacks();
  });
}

void RingIoQueue::run_callbacks() {
  callbacks_posted_ = false;
  const std::shared_ptr<RingIoQueue*> self = self_;
  // What finishes meanwhile has a task of its own.
  for (std::size_t left = finished_.size(); left > 0; --left) {
    Operation& operation = *finished_.front();
    finished_.pop_front();
    --in_flight_;
    Result<std::size_t> result = std::move(operation.result);
    WriteCallback write_done = std::exchange(operation.write_done, nullptr);
    ReadCallback read_done = std::exchange(operation.read_done, nullptr);
    free_.push_back(&operation);
    if (read_done) {
      read_done(std::move(result));
    } else if (result) {
      write_done({});
    } else {
      write_done(fail(std::move(result).error()));
    }
    if (*self == nullptr) return;  // the callback ended this queue
  }
}

}  // namespace tidelog::log::io
