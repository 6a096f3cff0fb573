#include "tools/output.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace tidelog::tools {
namespace {

constexpr std::size_t kLargeBytes = std::size_t{256} << 10;

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

}  // namespace

Result<> Output::flush() {
  const int error = is_closed_ ? 0 : write_all(fd_, text_);
  text_.clear();
  if (error == EPIPE) {
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
