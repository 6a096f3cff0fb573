#include "tools/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include "base/check.h"

namespace tidelog::tools {
namespace {

std::atomic<StopEvent*> interrupt_target = nullptr;
std::atomic<int> interrupt_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void end_at_once(int signal) { _exit(128 + signal); }

// Installed with SA_RESETHAND and SA_NODEFER, so that the signal now does what it does by default.
extern "C" void end_by_default(int signal) {
  raise(signal);
  _exit(128 + signal);  // the first process of a container, which signals by default leave alone
}

extern "C" void on_interrupt(int signal) {
  const int error = errno;
  // Only a person who types Ctrl-C twice means "at once": supervisors may send SIGTERM to the
  // process and to its group, and a clean stop must survive that.
  if (interrupt_signal.exchange(signal) != 0 && signal == SIGINT) _exit(128 + signal);
  interrupt_target.load()->set();
  errno = error;
}

void handle(int signal, void (*handler)(int), int flags = SA_RESTART) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

bool is_ignored(int signal) {
  struct sigaction action = {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

}  // namespace

StopEvent::StopEvent() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  TIDELOG_CHECK(fd_ >= 0, "no descriptor left for an eventfd");
}
StopEvent::~StopEvent() { close(fd_); }

void StopEvent::set() {
  is_set_ = true;
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the descriptor is readable already.
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void prepare_signals() {
  handle(SIGINT, end_at_once);
  signal(SIGPIPE, SIG_IGN);
  // A file size limit (ulimit -f) then fails the write, which is an error that can be told.
  signal(SIGXFSZ, SIG_IGN);
}

void end_by_signals() {
  handle(SIGTERM, end_by_default, SA_RESETHAND | SA_NODEFER);
  if (!is_ignored(SIGHUP)) handle(SIGHUP, end_by_default, SA_RESETHAND | SA_NODEFER);
}

StopEvent& interrupt_event() {
  static StopEvent event;
  if (interrupt_target.exchange(&event) == nullptr) {
    handle(SIGINT, on_interrupt);
    handle(SIGTERM, on_interrupt);
    if (!is_ignored(SIGHUP)) handle(SIGHUP, on_interrupt);
  }
  return event;
}

int interrupt_exit_code() { return 128 + interrupt_signal.load(); }

}  // namespace tidelog::tools
