#include "bench/requests/request_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "bench/support.h"

namespace tidelog::bench {
namespace {

constexpr std::size_t kInboxBytes = 1 << 20;
constexpr double kSilenceSecondsMax = 30;

class RequestRun {
 public:
  RequestRun(int socket, RequestSource& source, const RequestLoad& load)
      : socket_(socket), source_(source), load_(load), due_s_(load.outstanding) {
    for (std::size_t id = load.outstanding; id > 0; --id) free_.push_back(id - 1);
    if (fcntl(socket, F_SETFL, O_NONBLOCK) != 0) fail_with_errno("set up a socket");
  }

  RequestResult run() {
    const double cpu = thread_cpu_seconds();
    start_ = SteadyClock::now();
    double last_answer_s = 0;
    for (;;) {
      const double now_s = seconds_since(start_);
      const bool is_over = now_s >= load_.seconds;
      if (!is_over) issue(now_s);
      if (is_over && free_.size() == load_.outstanding) break;
      send_pieces();
      if (receive()) {
        last_answer_s = seconds_since(start_);
      } else {
        if (now_s - last_answer_s > kSilenceSecondsMax) fail_with("no answer came for 30 s");
        wait(now_s, is_over);
      }
    }
    result_.seconds = std::max(last_answer_s, 1e-9);
    result_.client_cpu_s = thread_cpu_seconds() - cpu;
    return std::move(result_);
  }

 private:
  void issue(double now_s) {
    while (!free_.empty() && (load_.rate == 0 || next_due_s_ <= now_s)) {
      const std::size_t id = free_.back();
      free_.pop_back();
      due_s_[id] = load_.rate == 0 ? now_s : next_due_s_;
      if (load_.rate > 0) next_due_s_ += 1 / load_.rate;
      source_.append(id, pieces_);
    }
  }

  void send_pieces() {
    while (sent_ < pieces_.size()) {
      msghdr message{};
      message.msg_iov = pieces_.data() + sent_;
      message.msg_iovlen = std::min(pieces_.size() - sent_, std::size_t{IOV_MAX});
      const ssize_t n = sendmsg(socket_, &message, MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n < 0) fail_with_errno("send requests");
      drop_sent(static_cast<std::size_t>(n));
    }
    pieces_.clear();
    sent_ = 0;
  }

  void drop_sent(std::size_t bytes) {
    while (bytes > 0) {
      iovec& piece = pieces_[sent_];
      const std::size_t taken = std::min(bytes, piece.iov_len);
      piece.iov_base = static_cast<char*>(piece.iov_base) + taken;
      piece.iov_len -= taken;
      bytes -= taken;
      if (piece.iov_len == 0) ++sent_;
    }
  }

  // False: nothing was there.
  bool receive() {
    const ssize_t n = recv(socket_, inbox_.data() + filled_, inbox_.size() - filled_, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n < 0) fail_with_errno("receive answers");
    if (n == 0) fail_with("the server closed the connection");
    filled_ += static_cast<std::size_t>(n);
    answered_.clear();
    const std::size_t taken = source_.take_answers(std::span(inbox_).first(filled_), answered_);
    if (taken == 0 && filled_ == inbox_.size()) fail_with("an answer is larger than 1 MiB");
    std::memmove(inbox_.data(), inbox_.data() + taken, filled_ - taken);
    filled_ -= taken;
    const double now_s = seconds_since(start_);
    for (const std::size_t id : answered_) {
      result_.latencies_us.push_back(static_cast<float>((now_s - due_s_[id]) * 1e6));
      free_.push_back(id);
    }
    result_.requests += answered_.size();
    return true;
  }

  void wait(double now_s, bool is_over) const {
    pollfd events{.fd = socket_, .events = POLLIN, .revents = 0};
    if (sent_ < pieces_.size()) events.events |= POLLOUT;
    double wait_s = 1;
    if (load_.rate > 0 && !free_.empty() && !is_over)
      wait_s = std::clamp(next_due_s_ - now_s, 0.0, 1.0);
    const timespec timeout{.tv_sec = static_cast<time_t>(wait_s),
                           .tv_nsec = static_cast<long>(
                               (wait_s - static_cast<double>(static_cast<time_t>(wait_s))) * 1e9)};
    if (ppoll(&events, 1, &timeout, nullptr) < 0 && errno != EINTR) fail_with_errno("wait");
  }

  const int socket_;
  RequestSource& source_;
  const RequestLoad load_;
  SteadyClock::time_point start_;
  double next_due_s_ = 0;
  std::vector<double> due_s_;      // by request
  std::vector<std::size_t> free_;  // requests that are not open
  std::vector<iovec> pieces_;      // to be sent, from sent_ on
  std::size_t sent_ = 0;
  std::vector<std::byte> inbox_ = std::vector<std::byte>(kInboxBytes);
  std::size_t filled_ = 0;
  std::vector<std::size_t> answered_;
  RequestResult result_;
};

}  // namespace

RequestResult run_requests(int socket, RequestSource& source, const RequestLoad& load) {
  return RequestRun(socket, source, load).run();
}

}  // namespace tidelog::bench
