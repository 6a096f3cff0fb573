#include "tools/output.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <system_error>

namespace tidelog::tools {
namespace {

constexpr std::size_t kLargeBytes = std::size_t{256} << 10;
constexpr int kStoppedPatienceMs = 1000;

// 0, or the errno of a failed write.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

bool is_regular_file(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

// The same, in pieces that never block a pipe that is ready for one, so that `stop` is noticed.
// ETIMEDOUT: it was set and nobody took a byte.
int write_until(int fd, std::string_view text, const StopEvent& stop) {
  if (is_regular_file(fd)) return write_all(fd, text);
  while (!text.empty()) {
    std::array<pollfd, 2> waits{{{fd, POLLOUT, 0}, {stop.fd(), POLLIN, 0}}};
    const bool is_stopped = stop.is_set();
    const int ready = poll(waits.data(), is_stopped ? 1 : 2, is_stopped ? kStoppedPatienceMs : -1);
    if (ready == 0) return ETIMEDOUT;
    if (ready < 0 && errno != EINTR) return errno;
    if (ready < 0 || waits[0].revents == 0) continue;
    const std::string_view piece = text.substr(0, PIPE_BUF);
    if (const int error = write_all(fd, piece); error != 0) return error;
    text.remove_prefix(piece.size());
  }
  return 0;
}

}  // namespace

Result<> Output::flush() {
  int error = 0;
  if (!is_closed_) error = stop_ ? write_until(fd_, text_, *stop_) : write_all(fd_, text_);
  text_.clear();
  if (error == EPIPE || error == ETIMEDOUT) {
    is_closed_ = true;
  } else if (error != 0) {
    return fail(ErrorCode::kStorageFailed,
                fmt::format("cannot write the output: {}", std::generic_category().message(error)));
  }
  return {};
}

Result<> Output::flush_when_large() {
  if (text_.size() < kLargeBytes) return {};
  return flush();
}

bool Output::poll_closed() {
  if (is_closed_) return true;
  pollfd state{fd_, 0, 0};
  if (poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0) is_closed_ = true;
  return is_closed_;
}

void print_error_text(std::string_view text) { write_all(STDERR_FILENO, text); }

}  // namespace tidelog::tools
