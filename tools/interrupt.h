// Ctrl-C, SIGTERM and SIGHUP as something to wait for.
#pragma once

#include <atomic>

namespace tidelog::tools {

// An event that happens once: a flag, and a file descriptor that is readable from then on.
// Thread: any; set() may also be called in a signal handler.
class StopEvent {
 public:
  StopEvent();
  ~StopEvent();
  StopEvent(const StopEvent&) = delete;
  StopEvent& operator=(const StopEvent&) = delete;

  void set();
  bool is_set() const { return is_set_.load(); }
  int fd() const { return fd_; }

 private:
  std::atomic<bool> is_set_ = false;
  int fd_;
};

// Until interrupt_event() is called, Ctrl-C ends the process at once, with 130. From now on SIGPIPE
// and SIGXFSZ are ignored, so that a closed pipe or a file size limit is an error of write().
void prepare_signals();

// Until interrupt_event() is called, SIGTERM and SIGHUP (unless it is ignored) end the process at
// once, also where it is the first one of a container, to which they do nothing by default.
void end_by_signals();

// From the first call on SIGINT, SIGTERM and SIGHUP (a terminal that closes; unless it is ignored,
// as nohup does) set the event that is returned instead of ending the process; a SIGINT after any
// of them ends it at once, with 130.
StopEvent& interrupt_event();

// 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. REQUIRES: interrupt_event().is_set().
int interrupt_exit_code();

}  // namespace tidelog::tools
