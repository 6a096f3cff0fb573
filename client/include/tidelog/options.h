// How to reach a cluster; shared by producer, consumer and admin.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace tidelog::client {

struct ConnectOptions {
  // "HOST[:PORT]", any of them is enough to find the others. Port 9700 when left out.
  std::vector<std::string> brokers{"127.0.0.1:9700"};
  std::string client_name = "tidelog-client";
  std::chrono::milliseconds connect_timeout{5000};
  // A request unanswered for this long counts as lost; the connection is opened anew.
  std::chrono::milliseconds request_timeout{30000};
  // Reconnection waits between these, doubling, with jitter.
  std::chrono::milliseconds backoff_min{50};
  std::chrono::milliseconds backoff_max{2000};
  // Hears what the library does about trouble (reconnecting, retrying), a sentence each. Called on
  // the library's thread.
  std::function<void(const std::string&)> log{};
};

}  // namespace tidelog::client
