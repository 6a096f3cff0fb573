// What the tools tell a person, all of it on standard error; --quiet keeps only failures.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

namespace tidelog::tools {

// Lines and, on a terminal, a progress line that is written over and over. Thread: any.
class Messages {
 public:
  explicit Messages(bool is_quiet);
  ~Messages() { clear_progress(); }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  // A sentence that failed or warns; never kept back.
  void failure(std::string_view sentence);
  void note(std::string_view sentence);

  // True when a progress line is wanted now: on a terminal, not quiet, at most five times a second
  // and not in the first half second.
  bool wants_progress();
  void progress(std::string_view line);
  void clear_progress();

 private:
  void clear_locked();

  const bool is_quiet_;
  const bool is_terminal_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point next_progress_;
  bool is_shown_ = false;
};

}  // namespace tidelog::tools
