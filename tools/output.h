// Buffered standard output that knows when nobody reads it any more.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "tools/interrupt.h"

namespace tidelog::tools {

// Thread: one at a time.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}

  // Once `stop` is set, writing goes on only while somebody takes the bytes: after a second without
  // one the output counts as closed. `stop` outlives this.
  void give_up_after(const StopEvent& stop) { stop_ = &stop; }

  // Append here, then call flush_when_large() or flush().
  std::string& text() { return text_; }

  // Writes everything. Once the reader has gone, writing succeeds without effect and is_closed() is
  // true. Fails with kStorageFailed for any other error.
  Result<> flush();
  Result<> flush_when_large();

  bool is_closed() const { return is_closed_; }
  // Also looks whether the reader of a pipe went away since the last write.
  bool poll_closed();

 private:
  int fd_;
  const StopEvent* stop_ = nullptr;
  std::string text_;
  bool is_closed_ = false;
};

// Writes all of `text` to standard error, at once.
void print_error_text(std::string_view text);

}  // namespace tidelog::tools
