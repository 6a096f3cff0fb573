// Holds one partition back while another is read, and watches how far behind each is.
//
//   pause [BROKER [TOPIC]]        (a topic of at least two partitions)
#include <tidelog/tidelog.h>

#include <chrono>
#include <iostream>

namespace client = tidelog::client;
using client::Position;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  client::ConsumerOptions options;
  if (argc > 1) options.connect.brokers = {argv[1]};
  const std::string topic = argc > 2 ? argv[2] : "events";
  client::Consumer consumer(options);
  const client::Status assigned =
      consumer.assign({{topic, 0, Position::start()}, {topic, 1, Position::start()}});
  if (!assigned) {
    std::cerr << assigned.error().to_string() << '\n';
    return 1;
  }

  // Nothing of partition 1 is given or fetched from here on; its position stays.
  if (!consumer.pause(topic, 1)) return 1;
  std::size_t records[2] = {0, 0};
  const auto read_until_caught_up = [&](std::int32_t partition) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (consumer.lag(topic, partition) != 0 && std::chrono::steady_clock::now() < until) {
      for (const client::ConsumedRecord& record : consumer.poll(500ms).records) {
        ++records[record.partition];
      }
    }
  };
  read_until_caught_up(0);
  std::cout << "partition 0: " << records[0] << " records, partition 1: " << records[1] << '\n';

  if (!consumer.resume(topic, 1)) return 1;
  read_until_caught_up(1);
  std::cout << "partition 0: " << records[0] << " records, partition 1: " << records[1] << '\n';
  std::cout << "lag " << consumer.lag(topic, 0).value_or(-1) << " and "
            << consumer.lag(topic, 1).value_or(-1) << '\n';
}
