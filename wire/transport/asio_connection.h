// Inside wire/transport/ only: one TCP connection on an AsioExecutor.
#pragma once

#include <asio/ip/tcp.hpp>
#include <deque>
#include <optional>

#include "wire/transport/asio_loop.h"

namespace tidelog::wire {

// The state of a connection; Asio's handlers keep it alive, the Connection that a user holds points
// to it.
//
// Sends are queued and written at the end of the loop's turn by one sendmsg; when the kernel takes
// no more, the rest waits until the socket is writable.
//
// States: open -> closing (close_when_sent: what is queued is written, then the sending side is
// shut, then input is discarded until the peer ends its side, so that no unread byte makes the
// kernel reset the connection and take the last frames with it) -> closed. close() and the deadline
// go to closed from anywhere.
class AsioStream final : public Flushable, public std::enable_shared_from_this<AsioStream> {
 public:
  // REQUIRES: `socket` is connected and non-blocking.
  AsioStream(AsioExecutor::Loop& loop, asio::ip::tcp::socket socket);

  void receive(std::span<std::byte> into, std::size_t bytes_min, Connection::ReceiveCallback done);
  void send(std::vector<SharedBytes> pieces, Connection::SendCallback done);
  void close();
  void close_when_sent(std::chrono::milliseconds deadline);
  // Gives up the socket, which stays open, and closes without it. REQUIRES: open, nothing unsent,
  // no receive pending.
  DetachedSocket release();
  // The user's Connection is gone: no callback runs any more. What close_when_sent began goes on.
  void abandon();
  void flush() override;

  std::size_t unsent_bytes() const { return unsent_bytes_; }
  const std::string& peer() const { return peer_; }
  const std::string& local() const { return local_; }

 private:
  enum class State : std::uint8_t { kOpen, kClosing, kClosed };
  struct PendingSend {
    std::vector<SharedBytes> pieces;
    Connection::SendCallback done;
    std::size_t piece = 0;           // the first piece not wholly written ...
    std::size_t piece_position = 0;  // ... and how much of it was
  };
  struct PendingReceive {
    std::span<std::byte> into;
    std::size_t bytes_min = 0;
    std::size_t received = 0;
    Connection::ReceiveCallback done;
  };

  void read_some();
  void on_read(const asio::error_code& error, std::size_t bytes);
  void finish_receive(Result<std::size_t> result);
  void request_flush();
  void skip_written(std::size_t bytes, std::vector<Connection::SendCallback>& written);
  void wait_writable();
  void shut_sending_side();
  void discard_input();
  void close_socket();
  void fail_later();
  void fail_pending();
  Error closed_error() const;

  AsioExecutor::Loop& loop_;
  asio::ip::tcp::socket socket_;
  std::string peer_;
  std::string local_;
  State state_ = State::kOpen;
  bool abandoned_ = false;

  std::optional<PendingReceive> receive_;

  std::deque<PendingSend> sends_;
  std::size_t unsent_bytes_ = 0;
  bool flush_requested_ = false;
  bool waiting_writable_ = false;
  std::optional<Error> send_error_;
  std::vector<Connection::SendCallback> refused_sends_;
  bool failing_ = false;  // fail_pending() is posted

  TimerId close_deadline_ = 0;
  std::vector<std::byte> discarded_;
  std::size_t discard_bytes_left_ = 0;
};

// What Network hands out.
class AsioConnection final : public Connection {
 public:
  explicit AsioConnection(std::shared_ptr<AsioStream> stream) : stream_(std::move(stream)) {}
  ~AsioConnection() override { stream_->abandon(); }
  AsioConnection(const AsioConnection&) = delete;
  AsioConnection& operator=(const AsioConnection&) = delete;

  void receive(std::span<std::byte> into, std::size_t bytes_min, ReceiveCallback done) override {
    stream_->receive(into, bytes_min, std::move(done));
  }
  void send(std::vector<SharedBytes> pieces, SendCallback done) override {
    stream_->send(std::move(pieces), std::move(done));
  }
  std::size_t unsent_bytes() const override { return stream_->unsent_bytes(); }
  void close() override { stream_->close(); }
  void close_when_sent(std::chrono::milliseconds deadline) override {
    stream_->close_when_sent(deadline);
  }
  std::string peer() const override { return stream_->peer(); }
  std::string local() const override { return stream_->local(); }
  DetachedSocket release() { return stream_->release(); }

 private:
  std::shared_ptr<AsioStream> stream_;
};

// "127.0.0.1:9700" or "[::1]:9700".
std::string endpoint_text(const asio::ip::tcp::endpoint& endpoint);

// Makes a connected socket ready for AsioStream: non-blocking, without Nagle's algorithm. False
// when the peer is gone already.
bool prepare_socket(asio::ip::tcp::socket& socket);

}  // namespace tidelog::wire
