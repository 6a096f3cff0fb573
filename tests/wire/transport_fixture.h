// A loop with a client and a server side on it, run by the test's own thread.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::wire {

class TransportTest : public testing::Test {
 protected:
  // Runs the loop until `done` holds at the end of a turn.
  void run_until(const std::function<bool()>& done) {
    if (done()) return;
    bool timed_out = false;
    const TimerId guard = executor_.run_after(std::chrono::seconds(20), [&] {
      timed_out = true;
      executor_.stop();
    });
    executor_.set_turn_hook([&] {
      if (done()) executor_.stop();
    });
    executor_.run();
    executor_.set_turn_hook(nullptr);
    executor_.cancel(guard);
    ASSERT_FALSE(timed_out) << "nothing happened for 20 s";
  }

  // Runs a few more turns: whatever was posted or is readable now has run afterwards.
  void settle() {
    int turns = 0;
    const std::function<void()> again = [&] {
      if (++turns < 20) executor_.post([&] { again(); });
    };
    executor_.post([&] { again(); });
    run_until([&] { return turns == 20; });
  }

  // Listens on a free port; accepted connections go to server_.
  void listen() {
    auto listener = network_->listen(
        {}, [this](std::unique_ptr<Connection> accepted) { server_ = std::move(accepted); });
    ASSERT_TRUE(listener.has_value()) << listener.error().to_string();
    listener_ = std::move(*listener);
  }

  void connect_pair() {
    listen();
    network_->connect("127.0.0.1", listener_->port(), std::chrono::seconds(10),
                      [this](Result<std::unique_ptr<Connection>> made) {
                        ASSERT_TRUE(made.has_value()) << made.error().to_string();
                        client_ = std::move(*made);
                      });
    run_until([this] { return client_ != nullptr && server_ != nullptr; });
  }

  // Receives exactly `bytes` bytes on `connection`.
  std::string receive_all(Connection& connection, std::size_t bytes) {
    std::string text(bytes, '\0');
    bool done = false;
    connection.receive(std::as_writable_bytes(std::span(text)), bytes,
                       [&](Result<std::size_t> received) {
                         EXPECT_TRUE(received.has_value()) << received.error().to_string();
                         done = true;
                       });
    run_until([&] { return done; });
    return text;
  }

  static std::vector<SharedBytes> pieces(std::initializer_list<std::string_view> texts) {
    std::vector<SharedBytes> all;
    for (const std::string_view text : texts) all.push_back(SharedBytes::copy_of(as_bytes(text)));
    return all;
  }

  AsioExecutor executor_;
  std::unique_ptr<AsioNetwork> network_ = std::make_unique<AsioNetwork>(executor_);
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Connection> client_;
  std::unique_ptr<Connection> server_;
};

}  // namespace tidelog::wire
