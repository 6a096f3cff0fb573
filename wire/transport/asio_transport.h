// The network and the event loop of production: Executor and Network on Asio's epoll reactor.
// Nothing here shows an Asio type. Asio's io_uring backend is not used (its cancellation is unsound
// in 1.22).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "wire/transport/transport.h"

namespace tidelog::wire {

// An event loop that one thread runs. A turn of the loop: wait, run what is ready (at most a few
// hundred handlers), write what was sent meanwhile to the sockets, call the turn hook. Thread:
// construction, set_turn_hook and watch_eventfd before run() or on the loop's thread; stop() and
// post() any. Destruction drops what was posted and never ran. REQUIRES: connections, listeners and
// networks of this executor go before it, unless a posted task or a timer owns them.
class AsioExecutor final : public Executor {
 public:
  AsioExecutor();
  ~AsioExecutor() override;
  AsioExecutor(const AsioExecutor&) = delete;
  AsioExecutor& operator=(const AsioExecutor&) = delete;

  // Runs the loop on the calling thread until stop(). May be called again afterwards.
  void run();
  // Ends run() after the turn it is in. Thread: any.
  void stop();
  // True on the thread that is inside run().
  bool on_loop_thread() const;

  void post(Task task) override;
  TimerId run_after(std::chrono::microseconds delay, Task task) override;
  void cancel(TimerId timer) override;
  const Clock& clock() const override { return system_clock(); }

  // Called at the end of every turn, before the loop waits again: where a shard submits its disk
  // I/O, once for all that the turn brought. What it posts runs in the next turn, without waiting.
  void set_turn_hook(std::move_only_function<void()> hook);

  // When the loop found something to do, after it last waited. Thread: the loop's.
  SteadyTime turn_began_at() const;

  // Calls `readable` whenever the eventfd's counter was not 0; the counter was reset just before.
  // `fd` stays the caller's, becomes non-blocking, and must stay open until unwatch_eventfd().
  void watch_eventfd(int fd, std::move_only_function<void()> readable);
  // No further call. Ignores an fd that is not watched.
  void unwatch_eventfd(int fd);

  struct Loop;
  Loop& loop() { return *loop_; }

 private:
  std::unique_ptr<Loop> loop_;
};

// A connected socket between two executors; closed with this object. Thread: any, one at a time.
class DetachedSocket {
 public:
  DetachedSocket() = default;
  explicit DetachedSocket(int fd) : fd_(fd) {}
  DetachedSocket(DetachedSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DetachedSocket& operator=(DetachedSocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  DetachedSocket(const DetachedSocket&) = delete;
  DetachedSocket& operator=(const DetachedSocket&) = delete;
  ~DetachedSocket();

  // -1: none.
  int fd() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// Gives the numeric addresses of a host name. Called on threads of its own; may block.
using HostLookup = std::function<Result<std::vector<std::string>>(const std::string& host)>;
// Asks the system. Gives at least one. Fails with kConnectionFailed.
Result<std::vector<std::string>> look_up_host(const std::string& host);

class HostLookups;

// TCP. Sends of one turn are gathered into one system call a connection; Nagle's algorithm is off.
// Host names are looked up on threads that nobody waits for; addresses are tried in the order the
// lookup gave them. Thread: its executor's. Destruction ends pending connects without callbacks.
class AsioNetwork final : public Network {
 public:
  // `executor` must outlive this.
  explicit AsioNetwork(AsioExecutor& executor, HostLookup look_up = look_up_host);
  ~AsioNetwork() override;

  void connect(std::string host, std::uint16_t port, std::chrono::milliseconds timeout,
               ConnectCallback done) override;
  // A host that is a name is looked up at once, which may block.
  Result<std::unique_ptr<Listener>> listen(const ListenOptions& options,
                                           AcceptCallback accepted) override;

  // Takes an idle connection of such a network apart, so that another one may go on with it.
  // REQUIRES: `connection` is of an AsioNetwork, open, with nothing unsent and no receive pending.
  static DetachedSocket release(std::unique_ptr<Connection> connection);
  // Null when the system has no room for it in this loop; then the socket is closed.
  std::unique_ptr<Connection> adopt(DetachedSocket socket);

 private:
  struct Connects;
  AsioExecutor& executor_;
  std::unique_ptr<Connects> connects_;
  std::shared_ptr<HostLookups> lookups_;
};

}  // namespace tidelog::wire
