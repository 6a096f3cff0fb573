// Ending the public clients in time, against a peer that takes connections and never says a word.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <latch>
#include <thread>
#include <type_traits>

#include "tidelog/tidelog.h"

namespace tidelog::client {
namespace {

using namespace std::chrono_literals;

class SilentPeer {
 public:
  SilentPeer() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    EXPECT_EQ(listen(socket_, 16), 0);  // the kernel accepts
    port_ = ntohs(address.sin_port);
  }
  ~SilentPeer() { ::close(socket_); }
  SilentPeer(const SilentPeer&) = delete;
  SilentPeer& operator=(const SilentPeer&) = delete;

  ConnectOptions connect() const {
    ConnectOptions options;
    options.brokers = {fmt::format("127.0.0.1:{}", port_)};
    options.connect_timeout = 1h;
    options.request_timeout = 1h;
    return options;
  }

 private:
  int socket_;
  int port_ = 0;
};

// What the deadlines below may be exceeded by on a machine that is busy.
constexpr auto kSlack = 20s;

class Stopwatch {
 public:
  std::chrono::steady_clock::duration elapsed() const {
    return std::chrono::steady_clock::now() - start_;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TEST(CloseTest, EndsAProducerWhoseBrokerNeverAnswers) {
  const SilentPeer peer;
  Producer producer({.connect = peer.connect(), .delivery_timeout = 1h});
  auto outcome = producer.produce({.topic = "t", .value = "a"});
  const Stopwatch watch;
  EXPECT_FALSE(producer.flush(50ms));
  EXPECT_FALSE(producer.close(50ms));
  EXPECT_LT(watch.elapsed(), kSlack);
  ASSERT_EQ(outcome.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(outcome.get().error().name, "CANCELLED");
}

TEST(CloseTest, SaysAgainThatNotEverythingWasSettledByABroker) {
  const SilentPeer peer;
  Producer producer({.connect = peer.connect()});
  auto outcome = producer.produce({.topic = "t", .value = "a"});
  EXPECT_FALSE(producer.close(0ms));
  EXPECT_FALSE(producer.close(0ms));
  EXPECT_FALSE(outcome.get().ok());
  Producer idle({.connect = peer.connect()});
  EXPECT_TRUE(idle.close(0ms));
  EXPECT_TRUE(idle.close(0ms));
}

TEST(CloseTest, WakesAThreadThatWaitsForRoom) {
  const SilentPeer peer;
  std::atomic<int> accepted{0};
  std::atomic<int> cancelled{0};
  {
    Producer producer({.connect = peer.connect(), .buffer_bytes_max = 1000});
    std::latch full(1);
    std::thread user([&] {
      const Producer::Callback count = [&](const Result<Delivery>& delivery) {
        if (!delivery && delivery.error().name == "CANCELLED") ++cancelled;
      };
      while (producer.try_produce({.topic = "t", .value = std::string(100, 'x')}, count)) {
        ++accepted;
      }
      full.count_down();
      producer.produce({.topic = "t", .value = std::string(700, 'x')}, count);  // waits for room
    });
    full.wait();
    EXPECT_FALSE(producer.close(50ms));
    user.join();
  }
  EXPECT_GT(accepted.load(), 1);
  EXPECT_EQ(cancelled.load(), accepted.load() + 1);
}

TEST(CloseTest, EndsAConsumerWhileItIsBeingAssigned) {
  const SilentPeer peer;
  Consumer consumer({.connect = peer.connect()});
  std::promise<Status> assigned;
  std::thread user([&] { assigned.set_value(consumer.assign({{"t", 0, Position::start()}})); });
  auto result = assigned.get_future();
  EXPECT_EQ(result.wait_for(50ms), std::future_status::timeout);
  const Stopwatch watch;
  EXPECT_TRUE(consumer.close(50ms));
  EXPECT_LT(watch.elapsed(), kSlack);
  user.join();
  EXPECT_EQ(result.get().error().name, "CANCELLED");
  EXPECT_TRUE(consumer.poll(1h).empty());  // at once
}

TEST(CloseTest, KeepsThePollOfOneThreadFromProlongingAnothers) {
  const SilentPeer peer;
  Consumer consumer({.connect = peer.connect()});
  std::latch polling(1);
  std::thread patient([&] {
    polling.count_down();
    EXPECT_TRUE(consumer.poll(1h).empty());
  });
  polling.wait();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(consumer.poll(10ms).empty());  // else this never ends
  EXPECT_TRUE(consumer.close(1s));
  patient.join();
}

TEST(CloseTest, DestroysAnAdminWithoutWaitingForABroker) {
  const SilentPeer peer;
  const Stopwatch watch;
  {
    ConnectOptions options = peer.connect();
    options.request_timeout = 50ms;
    Admin admin(options);
    EXPECT_EQ(admin.list_topics().error().name, "CONNECTION_FAILED");
  }
  EXPECT_LT(watch.elapsed(), kSlack);
}

TEST(CloseTest, DoesNotWaitForACallbackThatBlocks) {
  const SilentPeer peer;
  std::latch entered(1);
  std::latch leave(1);
  {
    Producer producer({.connect = peer.connect(), .delivery_timeout = 1ms});
    producer.produce({.topic = "t", .value = "a"}, [&](const Result<Delivery>&) {
      entered.count_down();
      leave.wait();
    });
    entered.wait();
    EXPECT_FALSE(producer.close(10ms));  // else this test never ends
    leave.count_down();
  }
  SUCCEED();
}

TEST(CloseTest, EndsAnAdminWhileItsCallsWait) {
  const SilentPeer peer;
  Admin admin(peer.connect());
  std::promise<Status> created;
  std::thread user([&] { created.set_value(admin.create_topic({.name = "t"})); });
  auto result = created.get_future();
  EXPECT_EQ(result.wait_for(50ms), std::future_status::timeout);
  const Stopwatch watch;
  EXPECT_TRUE(admin.close(50ms));
  EXPECT_LT(watch.elapsed(), kSlack);
  user.join();
  EXPECT_EQ(result.get().error().name, "CANCELLED");
  EXPECT_EQ(admin.list_topics().error().name, "CANCELLED");  // at once
  EXPECT_TRUE(admin.close(0ms));
}

TEST(CloseTest, ClosesAnAdminInItsOwnLogCallback) {
  Admin* at = nullptr;
  std::atomic<bool> closed{false};
  ConnectOptions options;
  options.brokers = {"127.0.0.1:1"};  // nobody is there
  options.log = [&](const std::string&) {
    if (!closed.exchange(true)) EXPECT_TRUE(at->close(0ms));
  };
  Admin admin(options);
  at = &admin;
  EXPECT_EQ(admin.list_topics().error().name, "CANCELLED");
  EXPECT_TRUE(closed.load());
}

TEST(ResultTest, GivesAValueOfItsOwnWhenItIsAboutToGo) {
  const auto topics = [] {
    return Result<std::vector<std::string>>(std::vector<std::string>(3, std::string(100, 'x')));
  };
  std::size_t length = 0;
  for (const std::string& topic : topics().value()) length += topic.size();
  for (const std::string& topic : *topics()) length += topic.size();
  EXPECT_EQ(length, 600U);
  static_assert(!std::is_reference_v<decltype(topics().value())>);
  static_assert(!std::is_reference_v<decltype(*topics())>);
  static_assert(!std::is_reference_v<decltype(topics().error())>);
}

}  // namespace
}  // namespace tidelog::client
