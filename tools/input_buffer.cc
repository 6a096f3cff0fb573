#include "tools/input_buffer.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace tidelog::tools {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

}  // namespace

InputBuffer::InputBuffer(int fd, int stop_fd, std::string name)
    : fd_(fd), stop_fd_(stop_fd), name_(std::move(name)) {}

void InputBuffer::make_room() {
  if (capacity_ - end_ >= kBlockBytes) return;
  const std::size_t kept = end_ - begin_;
  if (capacity_ >= kept + kBlockBytes && begin_ >= kept) {
    std::memcpy(memory_.get(), memory_.get() + begin_, kept);
  } else {
    // Doubling keeps the copying of a record much longer than a block linear.
    const std::size_t capacity = std::max(2 * kBlockBytes, 2 * kept + kBlockBytes);
    auto memory = std::make_unique_for_overwrite<char[]>(capacity);
    if (kept > 0) std::memcpy(memory.get(), memory_.get() + begin_, kept);
    memory_ = std::move(memory);
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = kept;
}

Result<InputBuffer::Fill> InputBuffer::fill() {
  if (end_ - begin_ >= kInputRecordBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("{}: a record is longer than {} MiB", name_,
                                                  kInputRecordBytesMax >> 20));
  }
  make_room();
  while (true) {
    std::array<pollfd, 2> waits{{{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    if (poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) break;
    if (waits[1].revents != 0) {
      was_stopped_ = true;
      return Fill::kStopped;
    }
    if (waits[0].revents == 0) continue;
    const ssize_t got = read(fd_, memory_.get() + end_, kBlockBytes);
    if (got > 0) {
      end_ += static_cast<std::size_t>(got);
      return Fill::kMore;
    }
    if (got == 0) return Fill::kEnd;
    if (errno != EINTR && errno != EAGAIN) break;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("cannot read {}: {}", name_, std::generic_category().message(errno)));
}

std::size_t RecordSplitter::find_delimiter(std::string_view bytes) const {
  if (delimiter_.size() > 1) return bytes.find(delimiter_, searched_);
  const void* found =
      std::memchr(bytes.data() + searched_, delimiter_[0], bytes.size() - searched_);
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
}

Result<std::optional<std::string_view>> RecordSplitter::next() {
  while (true) {
    const std::string_view bytes = input_.unread();
    const std::size_t found = bytes.empty() ? std::string_view::npos : find_delimiter(bytes);
    if (found != std::string_view::npos) {
      searched_ = 0;
      input_.consume(found + delimiter_.size());
      return bytes.substr(0, found);
    }
    // The delimiter's first bytes may be there already.
    searched_ = bytes.size() - std::min(bytes.size(), delimiter_.size() - 1);
    const auto filled = input_.fill();
    if (!filled && filled.error().code() == ErrorCode::kTooLarge) {
      return fail(ErrorCode::kTooLarge,
                  filled.error().message() + "; is the delimiter right (-D)?");
    }
    if (!filled) return fail(filled.error());
    if (*filled == InputBuffer::Fill::kStopped) return std::nullopt;
    if (*filled == InputBuffer::Fill::kEnd) {
      const std::string_view last = input_.unread();
      searched_ = 0;
      input_.consume(last.size());
      if (last.empty()) return std::nullopt;
      return last;
    }
  }
}

}  // namespace tidelog::tools
