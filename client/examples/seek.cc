// Finds its way in a partition: by time, by offset, and by distance from the end.
//
//   seek [BROKER [TOPIC]]
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

  try {
    // From now on, whatever was there before.
    consumer.assign({{topic, 0, Position::end()}}).value();
    std::cout << "the end is at " << consumer.position(topic, 0).value() << '\n';

    // What offset a position stands for, without going there.
    const auto anno_2020 = Position::time(1'577'836'800'000);
    if (const auto offset = consumer.resolve(topic, 0, anno_2020).value()) {
      std::cout << "records since 2020 begin at " << *offset << '\n';
    }

    // The last two records.
    consumer.seek(topic, 0, Position::end(2)).value();
    for (const client::ConsumedRecord& record : consumer.poll(5s).records) {
      std::cout << "offset " << record.offset << ": " << record.value.value_or("(null)") << '\n';
    }

    // One record, by its offset.
    consumer.seek(topic, 0, Position::offset(0)).value();
    for (const client::ConsumedRecord& record : consumer.poll(5s, 1).records) {
      std::cout << "offset " << record.offset << ": " << record.value.value_or("(null)") << '\n';
    }
  } catch (const client::ErrorException& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
