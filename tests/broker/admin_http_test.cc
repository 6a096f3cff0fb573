#include "broker/admin_http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace tidelog::broker {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// A plain TCP connection to a port of this machine, so that the pages are seen as bytes.
class Connection {
 public:
  explicit Connection(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ =
        ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool connected() const { return connected_; }
  void send(const std::string& text) {
    EXPECT_EQ(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Everything until the other side closes.
  std::string receive_all() {
    std::string text;
    char bytes[4096];
    for (ssize_t count = 0; (count = ::recv(socket_, bytes, sizeof bytes, 0)) > 0;) {
      text.append(bytes, static_cast<std::size_t>(count));
    }
    return text;
  }

 private:
  int socket_;
  bool connected_ = false;
};

class AdminHttpTest : public testing::Test {
 protected:
  AdminHttpTest() {
    AdminPages pages{.readiness =
                         [this] {
                           return Readiness{.ready = ready_.load(),
                                            .reason = "recovering 3 logs",
                                            .storage = "ext4, O_DIRECT"};
                         },
                     .metrics = [] { return std::string("tidelog_up 1\n"); },
                     .version_json = [] { return R"({"version":"0.1.0"})"; }};
    auto started = AdminHttp::start({"127.0.0.1", 0}, std::move(pages));
    if (started) {
      http_ = std::move(*started);
    } else {
      ADD_FAILURE() << started.error().message();
    }
  }

  std::string get(const std::string& page, const std::string& method = "GET") {
    Connection connection(http_->port());
    EXPECT_TRUE(connection.connected());
    connection.send(method + " " + page + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return connection.receive_all();
  }

  std::atomic<bool> ready_{false};
  std::unique_ptr<AdminHttp> http_;
};

TEST_F(AdminHttpTest, IsHealthyWhileTheProcessAnswers) {
  EXPECT_THAT(get("/health"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("\r\n\r\nalive\n")));
}

TEST_F(AdminHttpTest, IsReadyOnlyOnceTheBrokerServes) {
  EXPECT_THAT(get("/ready"),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("not ready: recovering 3 logs\n"),
                    HasSubstr("storage: ext4, O_DIRECT\n")));
  ready_ = true;
  EXPECT_THAT(get("/ready"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("ready\nstorage: ext4, O_DIRECT\n")));
}

TEST_F(AdminHttpTest, ShowsVersionAndMetrics) {
  EXPECT_THAT(get("/version"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("application/json"),
                                     HasSubstr("{\"version\":\"0.1.0\"}\n")));
  EXPECT_THAT(get("/metrics"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("text/plain; version=0.0.4"),
                    HasSubstr("tidelog_up 1\n")));
}

TEST_F(AdminHttpTest, NamesItsPagesToWhoAsksForAnother) {
  EXPECT_THAT(get("/metric"), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("text/plain"),
                                    HasSubstr("/health, /ready, /version and /metrics")));
  EXPECT_THAT(get("/health", "DELETE"), StartsWith("HTTP/1.1 4"));
}

TEST_F(AdminHttpTest, RefusesABodyAndNonsense) {
  Connection connection(http_->port());
  connection.send("this is no HTTP\r\n\r\n");
  EXPECT_THAT(connection.receive_all(), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(get("/" + std::string(20'000, 'x')), StartsWith("HTTP/1.1 414"));
}

TEST_F(AdminHttpTest, SaysWhichAddressIsInUse) {
  const auto second =
      AdminHttp::start({"127.0.0.1", http_->port()}, {.readiness = [] { return Readiness{}; },
                                                      .metrics = [] { return std::string(); },
                                                      .version_json = [] { return "{}"; }});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kConnectionFailed);
  EXPECT_THAT(second.error().message(),
              AllOf(HasSubstr("127.0.0.1:" + std::to_string(http_->port())),
                    HasSubstr("Address already in use")));
  EXPECT_FALSE(AdminHttp::start({"203.0.113.1", 0}, {.readiness = [] { return Readiness{}; },
                                                     .metrics = [] { return std::string(); },
                                                     .version_json = [] { return "{}"; }}));
}

TEST_F(AdminHttpTest, AnswersNobodyOnceItHasStopped) {
  const std::uint16_t port = http_->port();
  http_->stop();
  http_->stop();
  EXPECT_FALSE(Connection(port).connected());
}

TEST_F(AdminHttpTest, StopsWithinItsDeadlineBesideAClientThatNeverEndsItsRequest) {
  Connection slow(http_->port());
  slow.send("GET /health HT");
  const auto begin = std::chrono::steady_clock::now();
  http_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(AdminHttpTest, ServesSeveralClientsAtOnce) {
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([this, &answered] {
      for (int n = 0; n < 10; ++n) {
        if (get("/metrics").starts_with("HTTP/1.1 200")) ++answered;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 80);
}

}  // namespace
}  // namespace tidelog::broker
