#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "tests/wire/transport_fixture.h"

namespace tidelog::wire {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A plain socket, for what our own transport never does.
class RawSocket {
 public:
  explicit RawSocket(int extra_flags = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | extra_flags, 0)) {
    TIDELOG_CHECK(fd_ >= 0, "a socket for the test");
  }
  ~RawSocket() {
    if (fd_ >= 0) ::close(fd_);
  }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  int connect(std::uint16_t port) {
    const sockaddr_in to = loopback(port);
    return ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
  // Listens on a free port with the smallest queue, and accepts nothing.
  std::uint16_t listen() {
    sockaddr_in at = loopback(0);
    socklen_t length = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 0), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &length), 0);
    return ntohs(at.sin_port);
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(std::exchange(fd_, -1));
  }
  void send(std::string_view text) {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  std::string receive(std::size_t bytes) {
    std::string text(bytes, '\0');
    const ssize_t n = ::recv(fd_, text.data(), bytes, MSG_WAITALL);
    text.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return text;
  }

 private:
  int fd_;
};

class AsioNetworkTest : public TransportTest {
 protected:
  // Connects and gives back the error it must end with.
  Error failed_connect(const std::string& host, std::uint16_t port, milliseconds timeout) {
    std::optional<Error> error;
    network_->connect(host, port, timeout, [&](Result<std::unique_ptr<Connection>> made) {
      ASSERT_FALSE(made.has_value());
      error.emplace(std::move(made).error());
    });
    EXPECT_FALSE(error.has_value()) << "a callback ran inside the call";
    run_until([&] { return error.has_value(); });
    return error.value_or(Error(ErrorCode::kInternal, "no error came"));
  }

  std::optional<Error> receive_error_;
  void expect_receive_fails(Connection& connection) {
    connection.receive(room_, room_.size(), [this](Result<std::size_t> received) {
      ASSERT_FALSE(received.has_value());
      receive_error_.emplace(std::move(received).error());
    });
    EXPECT_FALSE(receive_error_.has_value()) << "a callback ran inside the call";
  }
  std::vector<std::byte> room_ = std::vector<std::byte>(64);
};

TEST_F(AsioNetworkTest, DeliversThousandsOfPiecesInOrderAndCallsBackEachSendOnce) {
  connect_pair();
  std::string expected;
  int sends_done = 0;
  constexpr int kSends = 300;
  for (int send = 0; send < kSends; ++send) {
    std::vector<SharedBytes> pieces;
    for (int piece = 0; piece < 20; ++piece) {
      const auto size = static_cast<std::size_t>((send * 7919 + piece * 104729) % 3000);
      const std::string text(size, static_cast<char>('a' + (send + piece) % 26));
      expected += text;
      pieces.push_back(SharedBytes::copy_of(as_bytes(text)));
    }
    client_->send(std::move(pieces), [&sends_done, send](Result<> sent) {
      EXPECT_TRUE(sent.has_value());
      EXPECT_EQ(sends_done++, send);
    });
  }
  EXPECT_EQ(client_->unsent_bytes(), expected.size());
  EXPECT_EQ(sends_done, 0);
  EXPECT_TRUE(receive_all(*server_, expected.size()) == expected);
  run_until([&] { return sends_done == kSends; });
  EXPECT_EQ(client_->unsent_bytes(), 0U);
}

TEST_F(AsioNetworkTest, SendsSixtyFourMebibytesInOnePieceWhileTheOtherSideReadsSlowly) {
  connect_pair();
  const std::string text = [] {
    std::string made(64 << 20, '\0');
    for (std::size_t i = 0; i < made.size(); ++i)
      made[i] = static_cast<char>(i * 2654435761U >> 24);
    return made;
  }();
  client_->send({SharedBytes::of_static(as_bytes(text))}, nullptr);
  client_->send({}, nullptr);
  client_->send(pieces({"", "end"}), nullptr);
  for (std::size_t at = 0; at < text.size(); at += 1 << 20) {
    ASSERT_TRUE(receive_all(*server_, 1 << 20) == text.substr(at, 1 << 20)) << at;
  }
  EXPECT_EQ(receive_all(*server_, 3), "end");
}

TEST_F(AsioNetworkTest, ReceivesAtLeastTheMinimumAndAtMostTheRoom) {
  connect_pair();
  std::optional<std::size_t> received;
  server_->receive(room_, 5, [&](Result<std::size_t> result) { received = *result; });
  client_->send(pieces({"abc"}), nullptr);
  settle();
  EXPECT_FALSE(received.has_value());
  client_->send(pieces({std::string(200, 'x')}), nullptr);
  run_until([&] { return received.has_value(); });
  EXPECT_GE(*received, 5U);
  EXPECT_LE(*received, room_.size());
  EXPECT_EQ(receive_all(*server_, 203 - *received), std::string(203 - *received, 'x'));
}

TEST_F(AsioNetworkTest, NamesBothEnds) {
  connect_pair();
  EXPECT_EQ(client_->peer(), "127.0.0.1:" + std::to_string(listener_->port()));
  EXPECT_EQ(client_->peer(), server_->local());
  EXPECT_EQ(client_->local(), server_->peer());
}

TEST_F(AsioNetworkTest, GoesOnSendingToAPeerThatEndedItsSide) {
  listen();
  RawSocket raw;
  ASSERT_EQ(raw.connect(listener_->port()), 0);
  run_until([&] { return server_ != nullptr; });
  raw.send("abc");
  raw.end_sending();
  expect_receive_fails(*server_);
  run_until([&] { return receive_error_.has_value(); });
  EXPECT_EQ(receive_error_->code(), ErrorCode::kConnectionClosed);
  bool sent = false;
  server_->send(pieces({"still ", "here"}), [&](Result<> result) { sent = result.has_value(); });
  run_until([&] { return sent; });
  EXPECT_EQ(raw.receive(10), "still here");
}

TEST_F(AsioNetworkTest, ReportsAConnectionThatThePeerReset) {
  listen();
  RawSocket raw;
  ASSERT_EQ(raw.connect(listener_->port()), 0);
  run_until([&] { return server_ != nullptr; });
  expect_receive_fails(*server_);
  raw.reset();
  run_until([&] { return receive_error_.has_value(); });
  EXPECT_EQ(receive_error_->code(), ErrorCode::kConnectionClosed);
  std::optional<ErrorCode> send_code;
  server_->send(pieces({"x"}), [&](Result<> sent) {
    ASSERT_FALSE(sent.has_value());
    send_code = sent.error().code();
  });
  run_until([&] { return send_code.has_value(); });
  EXPECT_EQ(send_code, ErrorCode::kConnectionClosed);
}

TEST_F(AsioNetworkTest, ClosesAtOnceWhenSentIfTheConnectionBrokeBefore) {
  listen();
  RawSocket raw;
  ASSERT_EQ(raw.connect(listener_->port()), 0);
  run_until([&] { return server_ != nullptr; });
  raw.reset();
  bool failed = false;
  while (!failed) {
    bool answered = false;
    server_->send(pieces({"x"}), [&](Result<> sent) {
      answered = true;
      failed = !sent.has_value();
    });
    run_until([&] { return answered; });
  }
  server_->close_when_sent(std::chrono::hours(1));
  expect_receive_fails(*server_);
  run_until([&] { return receive_error_.has_value(); });
}

TEST_F(AsioNetworkTest, NamesAddressAndCauseWhenNobodyListens) {
  listen();
  const std::uint16_t port = listener_->port();
  listener_.reset();
  const Error error = failed_connect("127.0.0.1", port, seconds(10));
  EXPECT_EQ(error.code(), ErrorCode::kConnectionFailed);
  EXPECT_EQ(error.message(),
            "cannot connect to 127.0.0.1:" + std::to_string(port) + ": Connection refused");
}

TEST_F(AsioNetworkTest, GivesUpAPeerThatNeverAnswers) {
  RawSocket silent;
  const std::uint16_t port = silent.listen();
  // A full accept queue: the kernel answers no further SYN.
  std::vector<std::unique_ptr<RawSocket>> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(std::make_unique<RawSocket>(SOCK_NONBLOCK));
    waiting.back()->connect(port);
  }
  const Error error = failed_connect("127.0.0.1", port, milliseconds(50));
  EXPECT_EQ(error.code(), ErrorCode::kTimedOut);
  EXPECT_EQ(error.message(),
            "no connection to 127.0.0.1:" + std::to_string(port) + " within 50 ms");
}

TEST_F(AsioNetworkTest, ConnectsByName) {
  listen();
  network_->connect("localhost", listener_->port(), seconds(10),
                    [this](Result<std::unique_ptr<Connection>> made) {
                      ASSERT_TRUE(made.has_value()) << made.error().to_string();
                      client_ = std::move(*made);
                    });
  run_until([&] { return client_ != nullptr; });
}

TEST_F(AsioNetworkTest, SaysThatANameCannotBeResolved) {
  const Error error = failed_connect(std::string(300, 'x'), 1, seconds(10));
  EXPECT_EQ(error.code(), ErrorCode::kConnectionFailed);
}

// The system may ask a name server that is gone for half a minute.
TEST_F(AsioNetworkTest, GoesWhileANameIsLookedUp) {
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool asked = false;
    bool open = false;
    bool ended = false;
  };
  const auto gate = std::make_shared<Gate>();
  const auto wait_for = [&gate](bool Gate::* what) {
    std::unique_lock lock(gate->mutex);
    gate->changed.wait(lock, [&] { return (*gate).*what; });
  };
  const auto set = [](Gate& at, bool Gate::* what) {
    const std::lock_guard lock(at.mutex);
    at.*what = true;
    at.changed.notify_all();
  };
  {
    AsioExecutor executor;
    int calls = 0;
    AsioNetwork network(executor, [gate, set](const std::string& host) {
      set(*gate, &Gate::asked);
      std::unique_lock lock(gate->mutex);
      gate->changed.wait(lock, [&] { return gate->open; });
      gate->ended = true;
      gate->changed.notify_all();
      return Result<std::vector<std::string>>(std::vector{host});
    });
    const auto never = [&calls](Result<std::unique_ptr<Connection>>) { ++calls; };
    network.connect("somewhere", 1, seconds(10), never);
    // Whoever asks for the same name waits with it.
    network.connect("somewhere", 2, seconds(10), never);
    wait_for(&Gate::asked);
    EXPECT_EQ(calls, 0);
  }
  set(*gate, &Gate::open);
  wait_for(&Gate::ended);
}

TEST_F(AsioNetworkTest, SharesAPortBetweenListenersAndRefusesItOtherwise) {
  ListenOptions options{.share_port = true};
  int first_count = 0;
  int second_count = 0;
  auto first = network_->listen(options, [&](std::unique_ptr<Connection>) { ++first_count; });
  ASSERT_TRUE(first.has_value());
  options.port = (*first)->port();
  options.first_to_share = false;
  auto second = network_->listen(options, [&](std::unique_ptr<Connection>) { ++second_count; });
  ASSERT_TRUE(second.has_value()) << second.error().to_string();
  std::vector<std::unique_ptr<RawSocket>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<RawSocket>());
    ASSERT_EQ(clients.back()->connect(options.port), 0);
  }
  run_until([&] { return first_count + second_count == 40; });
  EXPECT_GT(first_count, 0);
  EXPECT_GT(second_count, 0);

  // Neither alone nor as the first of others who share.
  for (const bool share_port : {false, true}) {
    options.share_port = share_port;
    options.first_to_share = true;
    const auto refused = network_->listen(options, [](std::unique_ptr<Connection>) {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ErrorCode::kConnectionFailed);
    EXPECT_EQ(
        refused.error().message(),
        "cannot listen on 127.0.0.1:" + std::to_string(options.port) + ": Address already in use");
  }
}

TEST_F(AsioNetworkTest, EndsPendingOperationsWhenClosed) {
  connect_pair();
  expect_receive_fails(*client_);
  std::vector<ErrorCode> sends;
  const auto record = [&](Result<> sent) {
    sends.push_back(sent ? ErrorCode::kOk : sent.error().code());
  };
  const std::string text(64 << 20, 'x');
  client_->send({SharedBytes::of_static(as_bytes(text))}, record);
  client_->send(pieces({"behind"}), record);
  settle();
  EXPECT_TRUE(sends.empty());
  client_->close();
  client_->close();
  EXPECT_TRUE(sends.empty() && !receive_error_) << "a callback ran inside close()";
  client_->send(pieces({"later"}), record);
  run_until([&] { return receive_error_.has_value() && sends.size() == 3; });
  EXPECT_EQ(receive_error_->code(), ErrorCode::kConnectionClosed);
  EXPECT_EQ(sends, std::vector(3, ErrorCode::kConnectionClosed));

  receive_error_.reset();
  expect_receive_fails(*client_);
  run_until([&] { return receive_error_.has_value(); });
  EXPECT_EQ(receive_error_->code(), ErrorCode::kConnectionClosed);
}

TEST_F(AsioNetworkTest, RunsNoCallbackOnceItsConnectionIsDestroyed) {
  connect_pair();
  auto room = std::make_unique<std::vector<std::byte>>(64);
  const auto held = std::make_shared<int>(0);
  client_->receive(*room, 64, [held](Result<std::size_t>) { ADD_FAILURE(); });
  const std::string text(64 << 20, 'x');
  client_->send({SharedBytes::of_static(as_bytes(text))}, [held](Result<>) { ADD_FAILURE(); });
  settle();
  client_->send(pieces({"y"}), [held](Result<>) { ADD_FAILURE(); });
  client_.reset();
  EXPECT_EQ(held.use_count(), 1) << "callbacks go with their connection";
  room.reset();
  server_->send(pieces({"to nobody"}), nullptr);
  settle();

  // The same when close() has promised callbacks that did not run yet.
  connect_pair();
  client_->send(pieces({"z"}), [held](Result<>) { ADD_FAILURE(); });
  client_->close();
  client_.reset();
  settle();
}

TEST_F(AsioNetworkTest, MayBeClosedOrDestroyedInItsOwnCallbacks) {
  connect_pair();
  bool client_gone = false;
  client_->receive(room_, 1, [&](Result<std::size_t>) {
    client_.reset();
    client_gone = true;
  });
  bool server_gone = false;
  server_->send(pieces({"x"}), [&](Result<>) {
    server_->close();
    server_.reset();
    server_gone = true;
  });
  server_->send(pieces({"y"}), [](Result<>) { ADD_FAILURE(); });
  run_until([&] { return client_gone && server_gone; });
  settle();
}

TEST_F(AsioNetworkTest, StopsAcceptingInsideItsOwnCallback) {
  int accepted = 0;
  auto listener = network_->listen({}, [&](std::unique_ptr<Connection>) {
    ++accepted;
    listener_.reset();
  });
  listener_ = std::move(*listener);
  const std::uint16_t port = listener_->port();
  RawSocket first;
  RawSocket second;
  ASSERT_EQ(first.connect(port), 0);
  ASSERT_EQ(second.connect(port), 0);
  run_until([&] { return accepted == 1; });
  settle();
  EXPECT_EQ(accepted, 1);
}

TEST_F(AsioNetworkTest, DropsPendingConnectsWithoutCallbackWhenItGoes) {
  RawSocket silent;
  const std::uint16_t port = silent.listen();
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 8; ++i) {
    network_->connect("127.0.0.1", port, seconds(10),
                      [held](Result<std::unique_ptr<Connection>>) { ADD_FAILURE(); });
  }
  network_.reset();
  EXPECT_EQ(held.use_count(), 1);
  settle();
}

TEST_F(AsioNetworkTest, SendsEverythingBeforeItClosesAlthoughInputIsUnread) {
  connect_pair();
  // Unread input would make a plain close reset the connection, and the last frames could be lost.
  client_->send(pieces({std::string(300'000, 'i')}), nullptr);
  settle();
  const std::string text(8 << 20, 't');
  bool sent = false;
  server_->send({SharedBytes::of_static(as_bytes(text))},
                [&](Result<> result) { sent = result.has_value(); });
  server_->close_when_sent(seconds(10));
  std::optional<ErrorCode> refused;
  server_->send(pieces({"later"}), [&](Result<> result) { refused = result.error().code(); });
  expect_receive_fails(*server_);
  EXPECT_TRUE(receive_all(*client_, text.size()) == text);
  EXPECT_TRUE(sent);
  EXPECT_EQ(refused, ErrorCode::kConnectionClosed);
  EXPECT_FALSE(receive_error_.has_value()) << "the connection is not closed yet";
  bool ended = false;
  std::vector<std::byte> more(1);
  client_->receive(more, 1, [&](Result<std::size_t> received) {
    EXPECT_FALSE(received.has_value());
    ended = true;
  });
  run_until([&] { return ended; });
  client_->close();
  run_until([&] { return receive_error_.has_value(); });
  EXPECT_EQ(receive_error_->code(), ErrorCode::kConnectionClosed);
}

TEST_F(AsioNetworkTest, SendsTheRestOfAClosingConnectionThatWasDestroyed) {
  connect_pair();
  const std::string text(8 << 20, 't');
  server_->send({SharedBytes::of_static(as_bytes(text))}, [](Result<>) { ADD_FAILURE(); });
  server_->close_when_sent(seconds(10));
  server_.reset();
  EXPECT_TRUE(receive_all(*client_, text.size()) == text);
}

TEST_F(AsioNetworkTest, ClosesAtTheDeadlineWhenThePeerTakesNothing) {
  connect_pair();
  const std::string text(64 << 20, 't');
  std::optional<ErrorCode> code;
  server_->send({SharedBytes::of_static(as_bytes(text))},
                [&](Result<> result) { code = result.error().code(); });
  server_->close_when_sent(milliseconds(20));
  run_until([&] { return code.has_value(); });
  EXPECT_EQ(code, ErrorCode::kConnectionClosed);
}

}  // namespace
}  // namespace tidelog::wire
