// Reads on a thread of its own, and stops it at once when the program wants to end.
//
//   wakeup [BROKER [TOPIC]]
#include <tidelog/tidelog.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <thread>

namespace client = tidelog::client;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  client::ConnectOptions connect;
  if (argc > 1) connect.brokers = {argv[1]};
  const std::string topic = argc > 2 ? argv[2] : "events";
  client::Consumer consumer({.connect = connect});
  if (const auto assigned = consumer.assign({{topic, 0, client::Position::end()}}); !assigned) {
    std::cerr << assigned.error().to_string() << '\n';
    return 1;
  }

  std::atomic<bool> stopping = false;
  std::atomic<int> seen = 0;
  std::thread reader([&] {
    while (!stopping) {
      // As long as it takes: wakeup() ends the wait.
      const client::ConsumedRecords polled = consumer.poll(1h);
      seen += static_cast<int>(polled.records.size());
    }
  });

  client::Producer producer({.connect = connect});
  const auto delivery =
      producer.produce({.topic = topic, .value = "tail me", .partition = 0}).get();
  if (!delivery) std::cerr << delivery.error().to_string() << '\n';
  while (delivery && seen == 0) std::this_thread::yield();

  stopping = true;
  consumer.wakeup();
  reader.join();
  std::cout << "read " << seen << " new record" << (seen == 1 ? "" : "s") << '\n';
  return delivery ? 0 : 1;
}
