// Bytes of a file or pipe, read in large blocks, and their records.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidelog::tools {

// Longest record the tools take from their input; the broker's own limit is smaller.
inline constexpr std::size_t kInputRecordBytesMax = std::size_t{64} << 20;

// What was read from a descriptor and not yet used, as one piece of memory.
class InputBuffer {
 public:
  // Does not own `fd`; reading ends early once `stop_fd` is readable. `name` is for messages.
  InputBuffer(int fd, int stop_fd, std::string name);

  enum class Fill { kMore, kEnd, kStopped };
  // Waits for bytes and appends up to 1 MiB of them. Views from unread() end.
  // Fails with kInvalidArgument (reading failed) and kTooLarge (kInputRecordBytesMax bytes are
  // unread).
  Result<Fill> fill();

  std::string_view unread() const { return {memory_.get() + begin_, end_ - begin_}; }
  // REQUIRES: bytes <= unread().size().
  void consume(std::size_t bytes) { begin_ += bytes; }
  const std::string& name() const { return name_; }
  // fill() returned kStopped once.
  bool was_stopped() const { return was_stopped_; }

 private:
  void make_room();

  int fd_;
  int stop_fd_;
  std::string name_;
  std::unique_ptr<char[]> memory_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool was_stopped_ = false;
};

// Cuts an InputBuffer at each delimiter. Bytes behind the last delimiter are a record too.
class RecordSplitter {
 public:
  // REQUIRES: !delimiter.empty(). `input` outlives the splitter.
  RecordSplitter(InputBuffer& input, std::string delimiter)
      : input_(input), delimiter_(std::move(delimiter)) {}

  // The next record without its delimiter, valid until the next call; nullopt at the end, or when
  // reading was stopped. Fails as InputBuffer::fill() does; of a long record asks for -D.
  Result<std::optional<std::string_view>> next();

 private:
  std::size_t find_delimiter(std::string_view bytes) const;

  InputBuffer& input_;
  std::string delimiter_;
  std::size_t searched_ = 0;  // no delimiter begins in this many unread bytes
};

}  // namespace tidelog::tools
