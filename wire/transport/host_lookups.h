// Inside wire/transport/ only: turns host names into addresses without ever holding up the loop or
// whoever ends it.
//
// The system's lookup may block for half a minute and cannot be ended. Each name that is looked up
// has a thread of its own, which nobody waits for: when its result comes too late, it is dropped.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "wire/transport/asio_loop.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::wire {

// Thread: the loop's. Destruction forgets what is under way, without callbacks.
class HostLookups : public std::enable_shared_from_this<HostLookups> {
 public:
  HostLookups(AsioExecutor::Loop& loop, HostLookup look_up);
  ~HostLookups();
  HostLookups(const HostLookups&) = delete;
  HostLookups& operator=(const HostLookups&) = delete;

  using Callback = std::move_only_function<void(const Result<std::vector<std::string>>&)>;
  // Gives the numeric addresses of `host` to `done`, never inside the call. Those who ask for a
  // name that is being looked up share the result. Fails with kConnectionFailed: there is no such
  // name, or too many are being looked up.
  void addresses(const std::string& host, Callback done);

 private:
  // How the threads reach the loop while it is there.
  struct Way;
  void finished(const std::string& host, const Result<std::vector<std::string>>& found);

  AsioExecutor::Loop& loop_;
  const HostLookup look_up_;
  std::shared_ptr<Way> way_;
  std::map<std::string, std::vector<Callback>> waiting_;
};

}  // namespace tidelog::wire
