// The public producer, where nobody answers.
#include "tidelog/producer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace tidelog::client {
namespace {

using namespace std::chrono_literals;

// A port of this machine that refuses connections as long as this lives.
class RefusingPort {
 public:
  RefusingPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = ntohs(address.sin_port);
  }
  ~RefusingPort() { close(socket_); }
  RefusingPort(const RefusingPort&) = delete;
  RefusingPort& operator=(const RefusingPort&) = delete;
  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }

 private:
  int socket_;
  int port_ = 0;
};

TEST(ProducerTest, WaitsAsLongAsItTakesWhenToldToWaitForEver) {
  const RefusingPort port;
  ProducerOptions options;
  options.connect.brokers = {port.address()};
  options.delivery_timeout = 200ms;
  Producer producer(options);
  auto outcome = producer.produce({.topic = "t", .value = "a"});
  EXPECT_TRUE(producer.flush(std::chrono::milliseconds::max()));
  EXPECT_EQ(outcome.get().error().name, "TIMED_OUT");
  auto last = producer.produce({.topic = "t", .value = "b"});
  EXPECT_TRUE(producer.close(std::chrono::milliseconds::max()));
  EXPECT_EQ(last.get().error().name, "TIMED_OUT");
}

TEST(ProducerTest, NeverGivesUpOnARecordWithoutADeliveryTimeout) {
  const RefusingPort port;
  ProducerOptions options;
  options.connect.brokers = {port.address()};
  options.connect.request_timeout = std::chrono::milliseconds::max();
  options.delivery_timeout = std::chrono::milliseconds::max();
  Producer producer(options);
  auto outcome = producer.produce({.topic = "t", .value = "a"});
  EXPECT_FALSE(producer.flush(100ms));
  EXPECT_FALSE(producer.close(0ms));
  EXPECT_EQ(outcome.get().error().name, "CANCELLED");
}

TEST(ProducerTest, CanBeDestroyedThoughItsCallbacksProduceForEver) {
  const RefusingPort port;
  ProducerOptions options;
  options.connect.brokers = {port.address()};
  Producer* at = nullptr;
  std::atomic<int> refused{0};
  const std::function<void(const Result<Delivery>&)> again = [&](const Result<Delivery>& delivery) {
    EXPECT_FALSE(delivery.ok());
    ++refused;
    at->try_produce({.topic = "t", .value = "again"}, again);
  };
  {
    Producer producer(options);
    at = &producer;
    producer.produce({.topic = "t", .value = "a"}, again);
    EXPECT_FALSE(producer.close(10ms));
    while (refused.load() < 10) std::this_thread::yield();
  }
  EXPECT_GE(refused.load(), 10);
}

}  // namespace
}  // namespace tidelog::client
