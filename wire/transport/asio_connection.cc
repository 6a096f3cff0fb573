#include "wire/transport/asio_connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "base/check.h"

namespace tidelog::wire {
namespace {

constexpr std::size_t kPiecesPerCallMax = 64;
// One connection writes at most about this much a turn, so that a fast reader does not hold up the
// others.
constexpr std::size_t kBytesPerTurnMax = 1024 * 1024;
// Input that a closing connection throws away before it gives the peer up.
constexpr std::size_t kDiscardBytesMax = 16 * 1024 * 1024;

// A silent peer is asked after this time, at this interval, so often; and what it does not
// acknowledge ends the connection.
constexpr int kKeepAliveIdleS = 60;
constexpr int kKeepAliveIntervalS = 10;
constexpr int kKeepAliveProbes = 6;
constexpr int kUnackedTimeoutMs = 120'000;

}  // namespace

std::string endpoint_text(const asio::ip::tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", host, endpoint.port())
                                    : fmt::format("{}:{}", host, endpoint.port());
}

bool prepare_socket(asio::ip::tcp::socket& socket) {
  asio::error_code error;
  socket.non_blocking(true, error);
  if (!error) socket.set_option(asio::ip::tcp::no_delay(true), error);
  if (error) return false;
  // A peer whose machine or network is gone says nothing: the kernel asks for it.
  const auto set = [fd = socket.native_handle()](int level, int option, int value) {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
  };
  return set(SOL_SOCKET, SO_KEEPALIVE, 1) && set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleS) &&
         set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveIntervalS) &&
         set(IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes) &&
         set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUnackedTimeoutMs);
}

AsioStream::AsioStream(AsioExecutor::Loop& loop, asio::ip::tcp::socket socket)
    : loop_(loop), socket_(std::move(socket)) {
  asio::error_code error;  // a peer that is gone already has no address; the first read says so
  const auto peer = socket_.remote_endpoint(error);
  peer_ = error ? "unknown" : endpoint_text(peer);
  const auto local = socket_.local_endpoint(error);
  local_ = error ? "unknown" : endpoint_text(local);
}

void AsioStream::receive(std::span<std::byte> into, std::size_t bytes_min,
                         Connection::ReceiveCallback done) {
  TIDELOG_CHECK(!receive_, "one receive at a time");
  receive_.emplace(into, bytes_min, 0, std::move(done));
  if (state_ == State::kOpen) {
    TIDELOG_CHECK(bytes_min > 0 && bytes_min <= into.size(), "a receive has room for its minimum");
    read_some();
  } else if (state_ == State::kClosed) {
    fail_later();
  }
}

void AsioStream::read_some() {
  const std::span<std::byte> rest = receive_->into.subspan(receive_->received);
  socket_.async_read_some(
      asio::buffer(rest.data(), rest.size()),
      [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
        self->on_read(error, bytes);
      });
}

void AsioStream::on_read(const asio::error_code& error, std::size_t bytes) {
  loop_.begin_turn();
  if (state_ != State::kOpen || !receive_) return;  // close() took care of the receive
  receive_->received += bytes;
  if (error == asio::error::eof) {
    // Nothing of what comes next had come: it ended between two messages, or before the first.
    finish_receive(fail(ErrorCode::kConnectionClosed,
                        receive_->received == 0
                            ? fmt::format("{} closed the connection", peer_)
                            : fmt::format("{} closed the connection after {} of {} bytes", peer_,
                                          receive_->received, receive_->bytes_min)));
  } else if (error) {
    finish_receive(fail(ErrorCode::kConnectionClosed,
                        fmt::format("the connection to {} was lost: {}", peer_, error.message())));
  } else if (receive_->received >= receive_->bytes_min) {
    finish_receive(receive_->received);
  } else {
    read_some();
  }
}

void AsioStream::finish_receive(Result<std::size_t> result) {
  Connection::ReceiveCallback done = std::move(receive_->done);
  receive_.reset();  // the callback may start the next one
  done(std::move(result));
}

void AsioStream::send(std::vector<SharedBytes> pieces, Connection::SendCallback done) {
  if (state_ != State::kOpen || send_error_) {
    refused_sends_.push_back(std::move(done));
    fail_later();
    return;
  }
  for (const SharedBytes& piece : pieces) unsent_bytes_ += piece.size();
  sends_.push_back({.pieces = std::move(pieces), .done = std::move(done)});
  request_flush();
}

void AsioStream::request_flush() {
  if (waiting_writable_ || std::exchange(flush_requested_, true)) return;
  loop_.flush_at_turn_end(shared_from_this());
}

void AsioStream::flush() {
  flush_requested_ = false;
  if (state_ == State::kClosed || waiting_writable_ || send_error_) return;
  std::vector<Connection::SendCallback> written;
  skip_written(0, written);  // sends of nothing
  const std::size_t unsent_before = unsent_bytes_;
  while (!sends_.empty()) {
    std::array<iovec, kPiecesPerCallMax> pieces;
    std::size_t count = 0;
    for (const PendingSend& send : sends_) {
      for (std::size_t i = send.piece; i < send.pieces.size() && count < pieces.size(); ++i) {
        const std::span<const std::byte> bytes =
            send.pieces[i].bytes().subspan(i == send.piece ? send.piece_position : 0);
        if (!bytes.empty()) pieces[count++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
      }
      if (count == pieces.size()) break;
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        wait_writable();
      } else {
        send_error_.emplace(ErrorCode::kConnectionClosed,
                            fmt::format("the connection to {} was lost: {}", peer_,
                                        std::generic_category().message(errno)));
        fail_later();
      }
      break;
    }
    skip_written(static_cast<std::size_t>(n), written);
    if (unsent_before - unsent_bytes_ >= kBytesPerTurnMax && !sends_.empty()) {
      request_flush();
      break;
    }
  }
  for (Connection::SendCallback& done : written) {
    if (done && !abandoned_) done({});
  }
  if (state_ == State::kClosing && (sends_.empty() || send_error_)) shut_sending_side();
}

void AsioStream::skip_written(std::size_t bytes, std::vector<Connection::SendCallback>& written) {
  unsent_bytes_ -= bytes;
  while (!sends_.empty()) {
    PendingSend& send = sends_.front();
    for (; send.piece < send.pieces.size(); ++send.piece) {
      const std::size_t left = send.pieces[send.piece].size() - send.piece_position;
      if (bytes < left) break;
      bytes -= left;
      send.piece_position = 0;
    }
    if (send.piece < send.pieces.size()) {
      send.piece_position += bytes;
      return;
    }
    written.push_back(std::move(send.done));
    sends_.pop_front();
  }
}

void AsioStream::wait_writable() {
  waiting_writable_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_write,
                     [self = shared_from_this()](const asio::error_code&) {
                       // An error shows in the next sendmsg.
                       self->waiting_writable_ = false;
                       if (self->state_ != State::kClosed) self->request_flush();
                     });
}

DetachedSocket AsioStream::release() {
  TIDELOG_CHECK(state_ == State::kOpen && unsent_bytes_ == 0 && !receive_,
                "only an idle connection moves");
  asio::error_code error;  // there is nothing to cancel that could fail
  DetachedSocket socket(socket_.release(error));
  state_ = State::kClosed;
  return socket;
}

void AsioStream::close() {
  if (state_ != State::kClosed) close_socket();
}

void AsioStream::close_socket() {
  state_ = State::kClosed;
  loop_.cancel(std::exchange(close_deadline_, 0));
  asio::error_code ignored;  // the descriptor is closed whatever is reported
  socket_.close(ignored);
  if (receive_ || !sends_.empty()) fail_later();
}

void AsioStream::close_when_sent(std::chrono::milliseconds deadline) {
  if (state_ != State::kOpen) return;
  if (send_error_) return close_socket();  // nothing can be sent any more
  state_ = State::kClosing;
  asio::error_code ignored;  // there may be nothing to cancel
  socket_.cancel(ignored);   // a pending receive stays, and ends when the connection is closed
  close_deadline_ = loop_.run_after(deadline, [self = shared_from_this()] {
    self->close_deadline_ = 0;
    self->close();
  });
  request_flush();
}

void AsioStream::shut_sending_side() {
  if (!discarded_.empty()) return;  // done already
  asio::error_code error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (error) {
    close_socket();
    return;
  }
  discarded_.resize(16 * 1024);
  discard_bytes_left_ = kDiscardBytesMax;
  discard_input();
}

void AsioStream::discard_input() {
  socket_.async_read_some(
      asio::buffer(discarded_.data(), discarded_.size()),
      [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
        if (self->state_ == State::kClosed) return;
        if (error || bytes >= self->discard_bytes_left_) {
          self->close_socket();
          return;
        }
        self->discard_bytes_left_ -= bytes;
        self->discard_input();
      });
}

void AsioStream::abandon() {
  abandoned_ = true;
  // Moved out first: destroying a callback may reach this object again.
  const auto receive = std::exchange(receive_, std::nullopt);
  const auto refused = std::exchange(refused_sends_, {});
  std::vector<Connection::SendCallback> callbacks;
  callbacks.reserve(sends_.size());
  for (PendingSend& send : sends_) callbacks.push_back(std::exchange(send.done, nullptr));
  if (state_ == State::kOpen) {
    const auto sends = std::exchange(sends_, {});
    close_socket();
  }
}

void AsioStream::fail_later() {
  if (std::exchange(failing_, true)) return;
  loop_.post([self = shared_from_this()] { self->fail_pending(); });
}

Error AsioStream::closed_error() const {
  if (send_error_) return *send_error_;
  return Error(ErrorCode::kConnectionClosed, fmt::format("the connection to {} is closed", peer_));
}

void AsioStream::fail_pending() {
  failing_ = false;
  const Error error = closed_error();
  auto refused = std::exchange(refused_sends_, {});
  std::deque<PendingSend> sends;
  if (state_ == State::kClosed || send_error_) {
    sends = std::exchange(sends_, {});
    unsent_bytes_ = 0;
  }
  for (PendingSend& send : sends) {
    if (send.done && !abandoned_) send.done(fail(error));
  }
  for (Connection::SendCallback& done : refused) {
    if (done && !abandoned_) done(fail(error));
  }
  if (state_ == State::kClosed && receive_) finish_receive(fail(error));
}

}  // namespace tidelog::wire
