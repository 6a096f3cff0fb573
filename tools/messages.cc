#include "tools/messages.h"

#include <fmt/format.h>
#include <unistd.h>

#include "tools/output.h"

namespace tidelog::tools {
namespace {

constexpr std::chrono::milliseconds kFirstProgress{500};
constexpr std::chrono::milliseconds kProgressInterval{200};

}  // namespace

Messages::Messages(bool is_quiet)
    : is_quiet_(is_quiet),
      is_terminal_(isatty(STDERR_FILENO) == 1),
      next_progress_(std::chrono::steady_clock::now() + kFirstProgress) {}

void Messages::failure(std::string_view sentence) {
  const std::lock_guard lock(mutex_);
  clear_locked();
  print_error_text(fmt::format("{}\n", sentence));
}

void Messages::note(std::string_view sentence) {
  if (!is_quiet_) failure(sentence);
}

bool Messages::wants_progress() {
  if (is_quiet_ || !is_terminal_) return false;
  const std::lock_guard lock(mutex_);
  return std::chrono::steady_clock::now() >= next_progress_;
}

void Messages::progress(std::string_view line) {
  const std::lock_guard lock(mutex_);
  next_progress_ = std::chrono::steady_clock::now() + kProgressInterval;
  is_shown_ = true;
  print_error_text(fmt::format("\r{}\x1b[K", line));
}

void Messages::clear_progress() {
  const std::lock_guard lock(mutex_);
  clear_locked();
}

void Messages::clear_locked() {
  if (is_shown_) print_error_text("\r\x1b[K");
  is_shown_ = false;
}

}  // namespace tidelog::tools
