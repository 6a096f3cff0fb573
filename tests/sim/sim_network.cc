#include "tests/sim/sim_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <utility>

#include "base/check.h"

namespace tidelog::sim {

// Both directions of one connection. End 0 connected, end 1 accepted.
struct SimNetwork::Link {
  struct End {
    std::deque<std::byte> arrived;
    std::int64_t last_arrival_us = 0;  // of what was sent to this end: order is kept
    bool deaf = false;                 // about to be cut: what is sent to it now is lost
    bool ended = false;                // the other side sends no more, and all of it arrived
    bool closed = false;               // this side closed
    bool destroyed = false;            // then its callbacks run no more
    bool receiving = false;
    std::span<std::byte> into;
    std::size_t min = 0;
    std::size_t filled = 0;
    wire::Connection::ReceiveCallback received;
    std::vector<wire::Connection::SendCallback> stalled;  // of what nobody takes
  };
  std::array<End, 2> ends;
  std::uint16_t port = 0;
  bool cut = false;
};

class SimConnection final : public wire::Connection {
 public:
  SimConnection(SimNetwork& network, std::shared_ptr<SimNetwork::Link> link, std::size_t side)
      : network_(network), link_(std::move(link)), side_(side) {}
  ~SimConnection() override {
    own().received = nullptr;
    own().receiving = false;
    own().destroyed = true;
    close();
  }

  void receive(std::span<std::byte> into, std::size_t bytes_min, ReceiveCallback done) override {
    TIDELOG_CHECK(!own().receiving, "one receive at a time");
    own().receiving = true;
    own().into = into;
    own().min = bytes_min;
    own().filled = 0;
    own().received = std::move(done);
    look(network_, link_, side_);
  }

  void send(std::vector<SharedBytes> pieces, SendCallback done) override {
    if (own().closed || link_->cut) {
      return finish_send(std::move(done),
                         fail(ErrorCode::kConnectionClosed, "the connection is closed"));
    }
    if (side_ == 0 && network_.stalled_.contains(link_->port)) {
      own().stalled.push_back(std::move(done));
      return;
    }
    std::vector<std::byte> bytes;
    for (const SharedBytes& piece : pieces) {
      bytes.insert(bytes.end(), piece.bytes().begin(), piece.bytes().end());
    }
    std::size_t kept = bytes.size();
    bool cuts = false;
    if (network_.cut_one_in_ > 0 && network_.random_.one_in(network_.cut_one_in_)) {
      cuts = true;
      kept = network_.random_.below(bytes.size() + 1);
    }
    if (!link_->ends[1 - side_].deaf) deliver(std::span(bytes).first(kept));
    if (cuts) {
      link_->ends[1 - side_].deaf = true;
      const auto when =
          std::chrono::microseconds(link_->ends[1 - side_].last_arrival_us - now_us() + 1);
      network_.executor_.happen_after(std::max(when, std::chrono::microseconds(1)),
                                      [&network = network_, link = link_] { cut(network, link); });
    }
    finish_send(std::move(done), {});
  }

  std::size_t unsent_bytes() const override { return 0; }

  void close() override {
    if (std::exchange(own().closed, true)) return;
    for (SendCallback& done : std::exchange(own().stalled, {})) {
      finish_send(std::move(done), fail(ErrorCode::kConnectionClosed, "the connection is closed"));
    }
    look(network_, link_, side_);
    arrive(delay_to_other(), [](SimNetwork::Link::End& other) { other.ended = true; });
  }

  void close_when_sent(std::chrono::milliseconds) override { close(); }

  std::string peer() const override {
    return side_ == 0 ? fmt::format("sim:{}", link_->port) : "sim:client";
  }
  std::string local() const override {
    return side_ == 1 ? fmt::format("sim:{}", link_->port) : "sim:client";
  }

  // Gives a waiting receive what is there.
  static void look(SimNetwork& network, const std::shared_ptr<SimNetwork::Link>& link,
                   std::size_t side) {
    SimNetwork::Link::End& end = link->ends[side];
    if (!end.receiving) return;
    if (!end.closed && !link->cut) {
      const std::size_t taken = std::min(end.into.size() - end.filled, end.arrived.size());
      std::copy_n(end.arrived.begin(), taken,
                  end.into.begin() + static_cast<std::ptrdiff_t>(end.filled));
      end.arrived.erase(end.arrived.begin(),
                        end.arrived.begin() + static_cast<std::ptrdiff_t>(taken));
      end.filled += taken;
    }
    const bool enough = end.filled >= end.min;
    const bool over = end.closed || link->cut || end.ended;
    if (!enough && !over) return;
    end.receiving = false;
    Result<std::size_t> result = end.filled;
    if (!enough) {
      result = fail(ErrorCode::kConnectionClosed,
                    link->cut ? "the connection was cut" : "the other side closed the connection");
    }
    network.executor_.post([link, side, result = std::move(result),
                            done = std::exchange(end.received, nullptr)]() mutable {
      if (link->ends[side].destroyed) return;
      if (link->ends[side].closed && result) {
        result = fail(ErrorCode::kConnectionClosed, "the connection is closed");
      }
      done(std::move(result));
    });
  }

  static void cut(SimNetwork& network, const std::shared_ptr<SimNetwork::Link>& link) {
    link->cut = true;
    for (std::size_t side = 0; side < 2; ++side) {
      link->ends[side].arrived.clear();
      look(network, link, side);
    }
  }

 private:
  SimNetwork::Link::End& own() { return link_->ends[side_]; }
  std::int64_t now_us() const {
    return network_.executor_.clock().now().time_since_epoch().count();
  }

  void finish_send(SendCallback done, Result<> result) {
    if (!done) return;
    network_.executor_.post(
        [link = link_, side = side_, done = std::move(done), result = std::move(result)]() mutable {
          if (!link->ends[side].destroyed) done(std::move(result));
        });
  }

  std::chrono::microseconds delay_to_other() {
    SimNetwork::Link::End& other = link_->ends[1 - side_];
    const std::int64_t at = std::max(now_us() + network_.delay().count(), other.last_arrival_us);
    other.last_arrival_us = at;
    return std::chrono::microseconds(at - now_us());
  }

  template <typename Change>
  void arrive(std::chrono::microseconds delay, Change change) {
    network_.executor_.happen_after(delay, [&network = network_, link = link_, side = 1 - side_,
                                            change = std::move(change)]() mutable {
      if (network.silent_.contains(link->port)) return;
      change(link->ends[side]);
      look(network, link, side);
    });
  }

  void deliver(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // Mostly whole, sometimes in bits, so that every frame boundary is cut through.
      const std::size_t piece =
          network_.random_.one_in(3) ? 1 + network_.random_.below(bytes.size()) : bytes.size();
      arrive(
          delay_to_other(),
          [copy = std::vector(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(piece))](
              SimNetwork::Link::End& other) {
            other.arrived.insert(other.arrived.end(), copy.begin(), copy.end());
          });
      bytes = bytes.subspan(piece);
    }
  }

  SimNetwork& network_;
  std::shared_ptr<SimNetwork::Link> link_;
  const std::size_t side_;
};

class SimListener final : public wire::Listener {
 public:
  SimListener(SimNetwork& network, std::uint16_t port) : network_(network), port_(port) {}
  ~SimListener() override { close(); }
  std::uint16_t port() const override { return port_; }
  void close() override {
    if (!std::exchange(closed_, true)) network_.listeners_.erase(port_);
  }

 private:
  SimNetwork& network_;
  const std::uint16_t port_;
  bool closed_ = false;
};

SimNetwork::SimNetwork(SimExecutor& executor, std::uint64_t seed)
    : executor_(executor), random_(seed) {}
SimNetwork::~SimNetwork() = default;

void SimNetwork::set_delay(std::chrono::microseconds min, std::chrono::microseconds max) {
  delay_min_ = min;
  delay_max_ = max;
}

std::chrono::microseconds SimNetwork::delay() {
  return std::chrono::microseconds(random_.between(static_cast<std::uint64_t>(delay_min_.count()),
                                                   static_cast<std::uint64_t>(delay_max_.count())));
}

void SimNetwork::connect(std::string host, std::uint16_t port, std::chrono::milliseconds timeout,
                         ConnectCallback done) {
  ++connects_;
  const std::string address = fmt::format("{}:{}", host, port);
  if (silent_.contains(port)) {
    executor_.happen_after(timeout, [address, done = std::move(done)]() mutable {
      done(fail(ErrorCode::kTimedOut, fmt::format("no answer from {}", address)));
    });
    return;
  }
  executor_.happen_after(delay(), [this, address, port, done = std::move(done)]() mutable {
    const auto at = listeners_.find(port);
    if (at == listeners_.end()) {
      return done(fail(ErrorCode::kConnectionFailed, fmt::format("{} refused", address)));
    }
    auto link = std::make_shared<Link>();
    link->port = port;
    std::erase_if(links_, [](const std::shared_ptr<Link>& old) {
      return old->cut || (old->ends[0].closed && old->ends[1].closed);
    });
    links_.push_back(link);
    (*at->second)(std::make_unique<SimConnection>(*this, link, 1));
    done(std::make_unique<SimConnection>(*this, link, 0));
  });
}

Result<std::unique_ptr<wire::Listener>> SimNetwork::listen(const wire::ListenOptions& options,
                                                           AcceptCallback accepted) {
  const std::uint16_t port = options.port != 0 ? options.port : next_port_++;
  if (listeners_.contains(port)) {
    return fail(ErrorCode::kConnectionFailed, fmt::format("port {} is in use", port));
  }
  listeners_.emplace(port, std::make_shared<AcceptCallback>(std::move(accepted)));
  return std::make_unique<SimListener>(*this, port);
}

void SimNetwork::cut(std::uint16_t port) {
  for (const std::shared_ptr<Link>& link : links_) {
    if (link->port == port) SimConnection::cut(*this, link);
  }
}

void SimNetwork::silence(std::uint16_t port, bool silent) {
  if (silent) {
    silent_.insert(port);
    return;
  }
  silent_.erase(port);
  cut(port);  // what was lost meanwhile leaves no stream whole
}

void SimNetwork::half_close(std::uint16_t port) {
  for (const std::shared_ptr<Link>& link : links_) {
    if (link->port != port) continue;
    link->ends[0].ended = true;
    SimConnection::look(*this, link, 0);
  }
}

std::size_t SimNetwork::open_connections(std::uint16_t port) const {
  return static_cast<std::size_t>(std::ranges::count_if(links_, [&](const auto& link) {
    return link->port == port && !link->cut && !link->ends[0].closed && !link->ends[1].closed;
  }));
}

}  // namespace tidelog::sim
