// Sends many records as fast as the broker takes them, and tells the three fates of a record apart:
// it is stored; it is certainly not; nobody knows.
//
//   produce_async [BROKER [TOPIC [COUNT]]]
#include <tidelog/tidelog.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <string>

namespace client = tidelog::client;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  client::ProducerOptions options;
  if (argc > 1) options.connect.brokers = {argv[1]};
  const std::string topic = argc > 2 ? argv[2] : "events";
  const int count = argc > 3 ? std::stoi(argv[3]) : 10'000;
  // Hears of trouble that the library deals with by itself: reconnecting, trying again.
  options.connect.log = [](const std::string& sentence) { std::cerr << sentence << '\n'; };
  // What is accepted and not settled yet; produce() waits while it is full.
  options.buffer_bytes_max = 8 * 1024 * 1024;
  client::Producer producer(options);

  // Callbacks run on the library's one thread: short, and never waiting.
  std::atomic<int> stored = 0;
  std::atomic<int> failed = 0;
  std::atomic<int> unknown = 0;
  const client::Producer::Callback count_it =
      [&](const client::Result<client::Delivery>& delivery) {
        if (delivery) {
          ++stored;
        } else if (delivery.error().unknown_outcome()) {
          ++unknown;  // it may be in the log: read the log, or send again and accept a second copy
        } else {
          ++failed;  // it is not in the log; error().action says what may help
        }
      };
  for (int i = 0; i < count; ++i) {
    client::Record record{.topic = topic, .value = "event " + std::to_string(i)};
    // try_produce() takes the record only where there is room. A program that can do something
    // better meanwhile does that; this one waits.
    if (!producer.try_produce(record, count_it)) producer.produce(std::move(record), count_it);
  }

  // Everything is settled after close(), come what may; it returns within the time given.
  const bool in_time = producer.close(30s);
  std::cout << stored << " stored, " << failed << " failed, " << unknown << " unknown"
            << (in_time ? "" : " (gave up after 30 s)") << '\n';
  return stored == count ? 0 : 1;
}
