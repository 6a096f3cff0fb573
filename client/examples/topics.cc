// Creates a topic, describes it, lists all topics, deletes it again.
//
//   topics [BROKER]
#include <tidelog/tidelog.h>

#include <iostream>

namespace client = tidelog::client;

int main(int argc, char** argv) {
  client::ConnectOptions connect;
  if (argc > 1) connect.brokers = {argv[1]};
  client::Admin admin(connect);

  client::Status created = admin.create_topic({.name = "short-lived", .partitions = 3});
  if (!created && created.error().name != "TOPIC_EXISTS") {
    std::cerr << created.error().to_string() << "\n  hint: " << created.error().hint << '\n';
    return 1;
  }

  client::Result<client::TopicDescription> topic = admin.describe_topic("short-lived");
  if (!topic) {
    std::cerr << topic.error().to_string() << '\n';
    return 1;
  }
  std::cout << topic->name << " has " << topic->partitions.size() << " partitions\n";
  for (const client::PartitionDescription& partition : topic->partitions) {
    std::cout << "  partition " << partition.partition << ": offsets " << partition.start_offset
              << " to " << partition.high_watermark << ", leader " << partition.leader << '\n';
  }

  // value() throws where there is none; *, -> and ok() are there for those who rather ask.
  try {
    std::size_t topics = admin.list_topics().value().size();
    std::cout << "the cluster has " << topics << (topics == 1 ? " topic\n" : " topics\n");
    admin.delete_topic("short-lived").value();
  } catch (const client::ErrorException& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  std::cout << "deleted\n";
}
