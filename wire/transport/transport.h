// The seam for the network: ordered byte streams whose callbacks run on the owner's Executor.
// Implemented with Asio (asio_transport.h) and by the simulator. Fit for TLS: nothing here shows a
// socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/executor.h"
#include "base/result.h"

namespace tidelog::wire {

// One end of an established stream. Thread: its executor's. Callbacks never run inside the call
// that started them; after close() or destruction none runs any more, except those already
// promised: an operation pending at close() ends with kConnectionClosed, at destruction with
// nothing.
class Connection {
 public:
  virtual ~Connection() = default;

  using ReceiveCallback = std::move_only_function<void(Result<std::size_t>)>;
  using SendCallback = std::move_only_function<void(Result<>)>;

  // Receives at least `bytes_min` bytes (all of `into` at most) and says how many. One at a time.
  // `into` must live until the callback. After close_when_sent() it only waits for the end, and
  // `into` may be empty. Fails with kConnectionClosed when the peer ended the stream first.
  virtual void receive(std::span<std::byte> into, std::size_t bytes_min, ReceiveCallback done) = 0;

  // Sends all pieces, in order, behind whatever was sent before; several sends may be pending and
  // are gathered into one call where possible. The pieces stay alive until `done` (which may be
  // null).
  virtual void send(std::vector<SharedBytes> pieces, SendCallback done) = 0;

  // Bytes handed to send() and not yet taken by the kernel.
  virtual std::size_t unsent_bytes() const = 0;

  // Ends both directions; safe to call twice.
  virtual void close() = 0;

  // Closes after everything given to send() so far has been sent and the peer has taken it, or
  // `deadline` passed. Nothing is received any more: a pending receive ends with kConnectionClosed
  // when the connection is closed. The object may be destroyed meanwhile; the rest is sent all the
  // same, without callbacks.
  virtual void close_when_sent(std::chrono::milliseconds deadline) = 0;

  // "HOST:PORT" of the other side and of this one.
  virtual std::string peer() const = 0;
  virtual std::string local() const = 0;
};

struct ListenOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free one
  // Several listeners (one a shard) share the port; the kernel spreads connections (SO_REUSEPORT).
  bool share_port = false;
  // The first of those who share: nobody may listen there yet, not even one who would share.
  bool first_to_share = true;
};

class Listener {
 public:
  virtual ~Listener() = default;
  // The port in use.
  virtual std::uint16_t port() const = 0;
  // No further connections; the callback does not run any more.
  virtual void close() = 0;
};

class Network {
 public:
  virtual ~Network() = default;

  using ConnectCallback = std::move_only_function<void(Result<std::unique_ptr<Connection>>)>;
  // Fails with kConnectionFailed, the message naming address and cause, kTimedOut.
  virtual void connect(std::string host, std::uint16_t port, std::chrono::milliseconds timeout,
                       ConnectCallback done) = 0;

  using AcceptCallback = std::move_only_function<void(std::unique_ptr<Connection>)>;
  // Fails with kConnectionFailed (address in use, not ours, no permission), naming address and
  // cause.
  virtual Result<std::unique_ptr<Listener>> listen(const ListenOptions& options,
                                                   AcceptCallback accepted) = 0;
};

}  // namespace tidelog::wire
