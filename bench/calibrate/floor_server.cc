#include "bench/calibrate/floor_server.h"

#include <liburing.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>

namespace tidelog::bench {
namespace {

constexpr std::size_t kInboxBytes = 4 << 20;
constexpr std::size_t kWriteBytesMax = 1 << 20;
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kWritesMax = 2;
constexpr std::uint64_t kReceiveMark = 1000;  // others are the numbers of stages

// What one write takes: being filled, or in flight.
struct Stage {
  AlignedBytes bytes = aligned_bytes(kWriteBytesMax);
  std::size_t used = 0;
  std::vector<std::uint64_t> ids;
  bool is_done = false;
};

class FloorServer {
 public:
  FloorServer(int socket, FloorProtocol& protocol, const ScratchFile& file)
      : socket_(socket), protocol_(protocol), file_(file) {
    errno = -io_uring_queue_init(8, &ring_, 0);
    if (errno != 0) fail_as_unsupported("make an io_uring");
  }
  ~FloorServer() { io_uring_queue_exit(&ring_); }
  FloorServer(const FloorServer&) = delete;
  FloorServer& operator=(const FloorServer&) = delete;

  void run() {
    while (!has_ended_ || !in_flight_.empty()) {
      stage_requests();
      submit_stage();
      arm_receive();
      const int submitted = io_uring_submit_and_wait(&ring_, 1);
      if (submitted < 0 && submitted != -EINTR) fail_with("io_uring does not take operations");
      io_uring_cqe* done = nullptr;
      while (io_uring_peek_cqe(&ring_, &done) == 0) {
        const std::uint64_t what = io_uring_cqe_get_data64(done);
        const int result = done->res;
        io_uring_cqe_seen(&ring_, done);
        take(what, result);
      }
      acknowledge();
    }
  }

 private:
  void take(std::uint64_t what, int result) {
    if (what == kReceiveMark) {
      is_receiving_ = false;
      if (result < 0 && result != -EINTR && result != -EAGAIN)
        fail_with("the floor cannot receive");
      if (result == 0) has_ended_ = true;
      inbox_end_ += static_cast<std::size_t>(std::max(result, 0));
      return;
    }
    Stage& stage = stages_[what];
    if (result != static_cast<int>(padded(stage.used))) fail_with("a write of the floor failed");
    stage.is_done = true;
  }

  static std::size_t padded(std::size_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

  void stage_requests() {
    Stage& stage = stages_[filling_];
    // The one behind both in flight is free; until it goes, requests wait in the inbox.
    for (;;) {
      const auto rest =
          std::span<const std::byte>(inbox_).subspan(inbox_begin_, inbox_end_ - inbox_begin_);
      const std::size_t bytes = protocol_.request_bytes(rest);
      if (bytes == 0 || stage.used + bytes > kWriteBytesMax) break;
      const FloorProtocol::Content content = protocol_.check(rest.first(bytes));
      std::memcpy(stage.bytes.get() + stage.used, content.stored.data(), content.stored.size());
      stage.used += content.stored.size();
      stage.ids.push_back(content.id);
      inbox_begin_ += bytes;
    }
    if (inbox_begin_ == inbox_end_) inbox_begin_ = inbox_end_ = 0;
  }

  void submit_stage() {
    Stage& stage = stages_[filling_];
    if (stage.used == 0 || in_flight_.size() == kWritesMax) return;
    const auto bytes = static_cast<off_t>(padded(stage.used));
    if (position_ + bytes > file_.bytes()) position_ = 0;
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    io_uring_prep_write(entry, file_.fd(), stage.bytes.get(), static_cast<unsigned>(bytes),
                        static_cast<std::uint64_t>(position_));
    entry->rw_flags = RWF_DSYNC;
    io_uring_sqe_set_data64(entry, filling_);
    position_ += bytes;
    in_flight_.push_back(filling_);
    filling_ = (filling_ + 1) % stages_.size();
  }

  void arm_receive() {
    if (is_receiving_ || has_ended_) return;
    if (kInboxBytes - inbox_end_ < kWriteBytesMax) {
      std::memmove(inbox_.data(), inbox_.data() + inbox_begin_, inbox_end_ - inbox_begin_);
      inbox_end_ -= inbox_begin_;
      inbox_begin_ = 0;
    }
    if (inbox_end_ == kInboxBytes) return;  // until a write is over
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    io_uring_prep_recv(entry, socket_, inbox_.data() + inbox_end_, kInboxBytes - inbox_end_, 0);
    io_uring_sqe_set_data64(entry, kReceiveMark);
    is_receiving_ = true;
  }

  // In the order of the writes: what lies behind a missing one is not stored yet.
  void acknowledge() {
    answers_.clear();
    while (!in_flight_.empty() && stages_[in_flight_.front()].is_done) {
      Stage& stage = stages_[in_flight_.front()];
      for (const std::uint64_t id : stage.ids) protocol_.answer(id, answers_);
      stage.ids.clear();
      stage.used = 0;
      stage.is_done = false;
      in_flight_.pop_front();
    }
    for (std::size_t sent = 0; sent < answers_.size();) {
      const ssize_t n = send(socket_, answers_.data() + sent, answers_.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail_with_errno("send answers");
      sent += static_cast<std::size_t>(n);
    }
  }

  const int socket_;
  FloorProtocol& protocol_;
  const ScratchFile& file_;
  io_uring ring_{};
  std::vector<std::byte> inbox_ = std::vector<std::byte>(kInboxBytes);
  std::size_t inbox_begin_ = 0;
  std::size_t inbox_end_ = 0;
  bool is_receiving_ = false;
  bool has_ended_ = false;
  std::array<Stage, kWritesMax + 1> stages_;
  std::size_t filling_ = 0;
  std::deque<std::size_t> in_flight_;
  off_t position_ = 0;
  std::vector<std::byte> answers_;
};

}  // namespace

double serve_floor(int socket, FloorProtocol& protocol, const ScratchFile& file) {
  const double before = thread_cpu_seconds();
  FloorServer(socket, protocol, file).run();
  return thread_cpu_seconds() - before;
}

}  // namespace tidelog::bench
