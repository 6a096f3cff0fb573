// A whole broker in one object: data directory, shards, control thread, listeners, admin HTTP.
// `tidelog broker` is a thin command around it; tests and programs may embed it.
//
// Life: start() opens and recovers the data directory, starts the threads and listens; when it
// returns the broker serves. stop() ends it cleanly; the destructor stops with the default deadline
// when nobody did.
//
// Durability: after a clean stop() the next start scans nothing. Without one (a crash, or a
// deadline that passed) the next start recovers and takes new leader epochs; acknowledged records
// are kept in both cases.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace tidelog::broker {

struct BrokerSettings;    // broker/settings.h
struct ConnectionLimits;  // broker/connection.h

// What a clean stop may take.
inline constexpr std::chrono::seconds kStopDeadline{5};

class Broker {
 public:
  // Blocks until the broker serves. Ports of 0 mean any free one; see port() and admin_port().
  // Logs one line with data directory, addresses, I/O backend and durability; one line on what
  // recovery found; one warning for each weakness of the storage. Fails with kDirectoryInUse,
  // kCorruptData, kStorageFailed, kStorageFull, kInvalidArgument, kConnectionFailed (an address in
  // use, or not this machine's); then nothing is left running.
  static Result<std::unique_ptr<Broker>> start(const BrokerSettings& settings);
  // The same with other limits than wire/limits.h says; tests make them small.
  static Result<std::unique_ptr<Broker>> start(const BrokerSettings& settings,
                                               const ConnectionLimits& limits);

  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Port and "HOST:PORT" of the native protocol's listener.
  std::uint16_t port() const;
  std::string address() const;
  // Port of the admin HTTP listener; 0 when it is off.
  std::uint16_t admin_port() const;

  // Asks for a stop; run_until_stopped() then stops and returns. Thread: any; async-signal-safe, so
  // that a handler of SIGTERM may call it.
  void request_stop() noexcept;

  // Blocks until request_stop(), then stop(kStopDeadline). Returns what stop() returned. A failed
  // disk does not end it: records are no longer taken, reads go on, /ready says why.
  Result<> run_until_stopped();

  // Clean stop: no new connections, a notice to those that are open, requests in flight settle,
  // logs close, the clean-stop marker is written, all within `deadline`. Safe to call twice. Fails
  // with kTimedOut or the log's error when the logs could not be closed: the next start then
  // recovers as after a crash.
  Result<> stop(std::chrono::milliseconds deadline = kStopDeadline);

 private:
  class Parts;
  explicit Broker(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace tidelog::broker
