// The admin pages of a broker over HTTP, on threads of their own: GET /health, /ready, /version,
// /metrics.
//
//   /health   200 while the process answers
//   /ready    200 and the storage sentence once the broker serves; 503 and the reason before, and
//             while it stops
//   /version  200, JSON
//   /metrics  200, Prometheus text
//   else      404
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "broker/settings.h"

namespace tidelog::broker {

struct Readiness {
  bool ready = false;
  std::string reason;   // why not
  std::string storage;  // one sentence on what the data directory promises; may be empty
};

struct AdminPages {
  // Called on the threads of the admin server, several at once; must not block for long.
  std::function<Readiness()> readiness;
  std::function<std::string()> metrics;
  std::function<std::string()> version_json;
};

class AdminHttp {
 public:
  // Listens and serves; port 0 takes any free one. Fails with kConnectionFailed: the address is in
  // use or is not this machine's.
  static Result<std::unique_ptr<AdminHttp>> start(const HostPort& listen, AdminPages pages);

  // Stops.
  ~AdminHttp();
  AdminHttp(const AdminHttp&) = delete;
  AdminHttp& operator=(const AdminHttp&) = delete;

  std::uint16_t port() const;
  // Closes the listener; once this returned no page is called any more. Requests that are under way
  // get a second; a client that is slower keeps its connection, but nothing of the broker, until it
  // ends. Safe to call twice.
  void stop();

 private:
  class Server;
  explicit AdminHttp(std::shared_ptr<Server> server);
  std::shared_ptr<Server> server_;
};

}  // namespace tidelog::broker
