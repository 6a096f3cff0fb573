// Chooses partitions by a rule of its own: urgent records go to partition 0, all others share the
// rest.
//
//   own_partitioner [BROKER [TOPIC]]        (a topic of several partitions)
#include <tidelog/tidelog.h>

#include <chrono>
#include <iostream>
#include <string_view>

namespace client = tidelog::client;
using namespace std::chrono_literals;

namespace {

std::int32_t by_urgency(const client::Record& record, std::int32_t partitions) {
  const std::string_view key = record.key ? std::string_view(*record.key) : std::string_view();
  if (partitions == 1 || key.starts_with("urgent")) return 0;
  return 1 + client::partition_for_key(key, partitions - 1);
}

}  // namespace

int main(int argc, char** argv) {
  client::ProducerOptions options;
  if (argc > 1) options.connect.brokers = {argv[1]};
  const std::string topic = argc > 2 ? argv[2] : "events";
  options.partitioner = by_urgency;
  client::Producer producer(options);
  for (const char* key : {"urgent-1", "later-1", "urgent-2", "later-2"}) {
    producer.produce({.topic = topic, .key = key, .value = "x"},
                     [key](const client::Result<client::Delivery>& delivery) {
                       if (delivery) {
                         std::cout << key << " is in partition " << delivery->partition << '\n';
                       } else {
                         std::cerr << key << ": " << delivery.error().to_string() << '\n';
                       }
                     });
  }
  return producer.close(10s) && producer.statistics().records_acknowledged == 4 ? 0 : 1;
}
