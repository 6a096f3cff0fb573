// Reads a topic from its start until it has seen everything that is there, and deals with what can
// go wrong with a partition.
//
//   consume [BROKER [TOPIC]]
#include <tidelog/tidelog.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <vector>

namespace client = tidelog::client;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  client::ConnectOptions connect;
  if (argc > 1) connect.brokers = {argv[1]};
  const std::string topic = argc > 2 ? argv[2] : "events";

  const auto description = client::Admin(connect).describe_topic(topic);
  if (!description) {
    std::cerr << description.error().to_string() << '\n';
    return 1;
  }
  std::vector<client::Assignment> partitions;
  for (const client::PartitionDescription& partition : description->partitions) {
    partitions.push_back({topic, partition.partition, client::Position::start()});
  }

  client::Consumer consumer({.connect = connect});
  if (const client::Status assigned = consumer.assign(partitions); !assigned) {
    std::cerr << assigned.error().to_string() << '\n';
    return 1;
  }
  const auto caught_up = [&] {
    return std::ranges::all_of(partitions, [&](const client::Assignment& one) {
      return consumer.lag(one.topic, one.partition) == 0;
    });
  };
  std::size_t records = 0;
  while (!caught_up()) {
    const client::ConsumedRecords polled = consumer.poll(500ms);
    for (const client::ConsumedRecord& record : polled.records) {
      ++records;
      std::cout << record.partition << '/' << record.offset << ' ' << record.key.value_or("-")
                << " = " << record.value.value_or("(null)");
      for (const client::HeaderRef& header : record.headers) {
        std::cout << " [" << header.key << ": " << header.value.value_or("(null)") << ']';
      }
      std::cout << '\n';
    }
    // A partition with an error stays where it is until the program decides.
    for (const client::PartitionError& error : polled.errors) {
      std::cerr << error.error.to_string() << '\n';
      if (!error.resume_offset) return 1;
      // What lies between is lost or damaged; this program would rather read on.
      const client::Status sought = consumer.seek(error.topic, error.partition,
                                                  client::Position::offset(*error.resume_offset));
      if (!sought) return 1;
    }
  }
  std::cout << records << " records\n";
  consumer.close(5s);
}
