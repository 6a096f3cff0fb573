#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>
#include <asio/ip/tcp.hpp>

#include <cerrno>
#include <unordered_set>

#include "base/check.h"
#include "wire/transport/asio_connection.h"
#include "wire/transport/host_lookups.h"

namespace tidelog::wire {
namespace {

using asio::ip::tcp;

// After the process ran out of descriptors, accepting waits this long instead of spinning.
constexpr std::chrono::milliseconds kAcceptPause{100};

// One connect: resolve, then try address after address until one answers or the time is up.
class ConnectAttempt : public std::enable_shared_from_this<ConnectAttempt> {
 public:
  using Set = std::unordered_set<std::shared_ptr<ConnectAttempt>>;

  ConnectAttempt(AsioExecutor::Loop& loop, HostLookups& lookups, std::weak_ptr<Set> open,
                 std::string host, std::uint16_t port, Network::ConnectCallback done)
      : loop_(loop),
        lookups_(lookups),
        open_(std::move(open)),
        host_(std::move(host)),
        port_(port),
        done_(std::move(done)),
        socket_(loop.io) {}

  void start(std::chrono::milliseconds timeout) {
    timer_ = loop_.run_after(timeout, [self = shared_from_this(), timeout] {
      self->timer_ = 0;
      self->finish(fail(ErrorCode::kTimedOut, fmt::format("no connection to {} within {} ms",
                                                          self->name(), timeout.count())));
    });
    asio::error_code not_numeric;
    const auto address = asio::ip::make_address(host_, not_numeric);
    if (!not_numeric) {
      endpoints_.emplace_back(address, port_);
      try_next();
      return;
    }
    lookups_.addresses(host_,
                       [self = shared_from_this()](const Result<std::vector<std::string>>& found) {
                         self->looked_up(found);
                       });
  }

  // Ends without a callback.
  void abandon() {
    const auto dropped = std::exchange(done_, nullptr);
    stop();
  }

 private:
  void looked_up(const Result<std::vector<std::string>>& found) {
    if (!done_) return;
    cause_ = found ? "the name has no address" : found.error().message();
    if (found) {
      for (const std::string& text : *found) {
        asio::error_code not_numeric;
        const auto address = asio::ip::make_address(text, not_numeric);
        if (!not_numeric) endpoints_.emplace_back(address, port_);
      }
    }
    try_next();
  }

  void try_next() {
    if (next_ == endpoints_.size()) {
      // Posted, because the first address may fail within connect().
      loop_.post([self = shared_from_this()] {
        self->finish(fail(ErrorCode::kConnectionFailed,
                          fmt::format("cannot connect to {}: {}", self->name(), self->cause_)));
      });
      return;
    }
    const tcp::endpoint endpoint = endpoints_[next_++];
    asio::error_code error;
    socket_.close(error);
    socket_.open(endpoint.protocol(), error);
    if (error) {
      cause_ = error.message();
      try_next();
      return;
    }
    socket_.async_connect(endpoint, [self = shared_from_this()](const asio::error_code& failed) {
      if (!self->done_) return;
      if (!failed && prepare_socket(self->socket_)) {
        self->finish(std::make_unique<AsioConnection>(
            std::make_shared<AsioStream>(self->loop_, std::move(self->socket_))));
        return;
      }
      self->cause_ = failed ? failed.message() : "the peer ended the connection at once";
      self->try_next();
    });
  }

  void finish(Result<std::unique_ptr<Connection>> result) {
    auto done = std::exchange(done_, nullptr);
    if (!done) return;
    const auto self = shared_from_this();
    if (const auto open = open_.lock()) open->erase(self);
    stop();
    done(std::move(result));
  }

  void stop() {
    loop_.cancel(std::exchange(timer_, 0));
    asio::error_code ignored;  // closed whatever is reported
    socket_.close(ignored);
  }

  std::string name() const { return fmt::format("{}:{}", host_, port_); }

  AsioExecutor::Loop& loop_;
  HostLookups& lookups_;
  std::weak_ptr<Set> open_;
  const std::string host_;
  const std::uint16_t port_;
  Network::ConnectCallback done_;
  tcp::socket socket_;
  std::vector<tcp::endpoint> endpoints_;
  std::size_t next_ = 0;
  std::string cause_;
  TimerId timer_ = 0;
};

// The accepting socket and its loop; Asio's handlers keep it alive.
class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(AsioExecutor::Loop& loop, tcp::acceptor acceptor, Network::AcceptCallback accepted)
      : loop_(loop), acceptor_(std::move(acceptor)), accepted_(std::move(accepted)) {}

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  void accept_next() {
    acceptor_.async_accept(
        [self = shared_from_this()](const asio::error_code& error, tcp::socket socket) {
          self->loop_.begin_turn();
          if (self->closed_) return;
          // A peer that went away before it was accepted is skipped by Asio. What is left lasts:
          // no descriptors (here or in the whole system), no memory.
          if (error) {
            self->pause_ = self->loop_.run_after(kAcceptPause, [self] {
              self->pause_ = 0;
              self->accept_next();
            });
            return;
          }
          if (prepare_socket(socket)) {
            self->accepted_(std::make_unique<AsioConnection>(
                std::make_shared<AsioStream>(self->loop_, std::move(socket))));
          }
          if (!self->closed_) self->accept_next();
        });
  }

  void close() {
    if (std::exchange(closed_, true)) return;
    loop_.cancel(std::exchange(pause_, 0));
    asio::error_code ignored;  // closed whatever is reported
    acceptor_.close(ignored);
  }

 private:
  AsioExecutor::Loop& loop_;
  tcp::acceptor acceptor_;
  Network::AcceptCallback accepted_;
  bool closed_ = false;
  TimerId pause_ = 0;
};

class AsioListener final : public Listener {
 public:
  explicit AsioListener(std::shared_ptr<Acceptor> acceptor)
      : acceptor_(std::move(acceptor)), port_(acceptor_->port()) {}
  ~AsioListener() override { acceptor_->close(); }
  AsioListener(const AsioListener&) = delete;
  AsioListener& operator=(const AsioListener&) = delete;

  std::uint16_t port() const override { return port_; }
  void close() override { acceptor_->close(); }

 private:
  std::shared_ptr<Acceptor> acceptor_;
  std::uint16_t port_;
};

Result<tcp::endpoint> resolve_now(const ListenOptions& options) {
  asio::error_code error;
  const auto address = asio::ip::make_address(options.host, error);
  if (!error) return tcp::endpoint(address, options.port);
  const Result<std::vector<std::string>> found = look_up_host(options.host);
  if (!found) {
    return fail(ErrorCode::kConnectionFailed,
                fmt::format("cannot listen on {}:{}: {}", options.host, options.port,
                            found.error().message()));
  }
  if (!found->empty()) {
    const auto first = asio::ip::make_address(found->front(), error);
    if (!error) return tcp::endpoint(first, options.port);
  }
  return fail(
      ErrorCode::kConnectionFailed,
      fmt::format("cannot listen on {}:{}: the name has no address", options.host, options.port));
}

Result<tcp::acceptor> open_acceptor(asio::io_context& io, const tcp::endpoint& endpoint,
                                    bool share_port) {
  tcp::acceptor acceptor(io);
  asio::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && share_port) {
    const int on = 1;
    if (::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
      error = asio::error_code(errno, asio::system_category());
    }
  }
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) {
    return fail(ErrorCode::kConnectionFailed,
                fmt::format("cannot listen on {}: {}", endpoint_text(endpoint), error.message()));
  }
  return acceptor;
}

Result<tcp::acceptor> open_acceptor(asio::io_context& io, const ListenOptions& options) {
  TIDELOG_ASSIGN(const tcp::endpoint endpoint, resolve_now(options));
  // Sockets that share a port do not mind those of another process; one that does not share does.
  if (options.share_port && options.first_to_share && endpoint.port() != 0) {
    TIDELOG_TRY(open_acceptor(io, endpoint, /*share_port=*/false));
  }
  return open_acceptor(io, endpoint, options.share_port);
}

}  // namespace

struct AsioNetwork::Connects {
  std::shared_ptr<ConnectAttempt::Set> open = std::make_shared<ConnectAttempt::Set>();
};

AsioNetwork::AsioNetwork(AsioExecutor& executor, HostLookup look_up)
    : executor_(executor),
      connects_(std::make_unique<Connects>()),
      lookups_(std::make_shared<HostLookups>(executor.loop(), std::move(look_up))) {}

AsioNetwork::~AsioNetwork() {
  const auto open = std::exchange(*connects_->open, {});
  for (const auto& attempt : open) attempt->abandon();
}

void AsioNetwork::connect(std::string host, std::uint16_t port, std::chrono::milliseconds timeout,
                          ConnectCallback done) {
  auto attempt = std::make_shared<ConnectAttempt>(executor_.loop(), *lookups_, connects_->open,
                                                  std::move(host), port, std::move(done));
  connects_->open->insert(attempt);
  attempt->start(timeout);
}

DetachedSocket::~DetachedSocket() {
  if (fd_ >= 0) ::close(fd_);
}

DetachedSocket AsioNetwork::release(std::unique_ptr<Connection> connection) {
  auto* ours = dynamic_cast<AsioConnection*>(connection.get());
  TIDELOG_CHECK(ours != nullptr, "only sockets move between loops");
  return ours->release();
}

std::unique_ptr<Connection> AsioNetwork::adopt(DetachedSocket socket) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  const bool is_v6 =
      ::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &bytes) == 0 &&
      address.ss_family == AF_INET6;
  tcp::socket adopted(executor_.loop().io);
  asio::error_code error;
  adopted.assign(is_v6 ? tcp::v6() : tcp::v4(), socket.fd(), error);
  if (error) return nullptr;
  (void)socket.take();
  // Asio keeps to itself that the descriptor does not block.
  adopted.non_blocking(true, error);
  if (error) return nullptr;
  return std::make_unique<AsioConnection>(
      std::make_shared<AsioStream>(executor_.loop(), std::move(adopted)));
}

Result<std::unique_ptr<Listener>> AsioNetwork::listen(const ListenOptions& options,
                                                      AcceptCallback accepted) {
  TIDELOG_ASSIGN(tcp::acceptor socket, open_acceptor(executor_.loop().io, options));
  auto acceptor =
      std::make_shared<Acceptor>(executor_.loop(), std::move(socket), std::move(accepted));
  acceptor->accept_next();
  return std::make_unique<AsioListener>(std::move(acceptor));
}

}  // namespace tidelog::wire
