// Sends three records and waits for each: where it lies now, on stable storage.
//
//   produce [BROKER [TOPIC]]
#include <tidelog/tidelog.h>

#include <chrono>
#include <future>
#include <iostream>
#include <vector>

namespace client = tidelog::client;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  client::ProducerOptions options;
  if (argc > 1) options.connect.brokers = {argv[1]};
  const std::string topic = argc > 2 ? argv[2] : "events";
  options.compression = client::Compression::kZstd;
  client::Producer producer(options);

  std::vector<std::future<client::Result<client::Delivery>>> sent;
  // The key decides the partition: records of one key stay in order.
  sent.push_back(producer.produce({.topic = topic, .key = "sensor-7", .value = "21.5"}));
  // Headers, and a time of one's own (ms since 1970 UTC).
  sent.push_back(producer.produce({.topic = topic,
                                   .key = "sensor-7",
                                   .value = "21.6",
                                   .headers = {{"unit", "celsius"}, {"checked", std::nullopt}},
                                   .timestamp_ms = 1'767'225'600'000}));
  // No value, which is not the same as an empty one; and a partition of one's own choice.
  sent.push_back(producer.produce({.topic = topic, .key = "sensor-8", .partition = 0}));

  bool all_sent = true;
  for (auto& record : sent) {
    const client::Result<client::Delivery> delivery = record.get();
    if (delivery) {
      std::cout << "stored in " << delivery->topic << " partition " << delivery->partition
                << " at offset " << delivery->offset << '\n';
    } else {
      std::cerr << delivery.error().to_string() << '\n';
      all_sent = false;
    }
  }
  producer.close(5s);
  return all_sent ? 0 : 1;
}
