// Asks what the cluster is, changes a setting of the broker and of a topic, gives the topic more
// partitions and deletes its oldest records.
//
//   administer BROKER TOPIC
#include <tidelog/tidelog.h>

#include <iostream>
#include <string>
#include <vector>

namespace client = tidelog::client;

namespace {

void show_cluster(client::Admin& admin) {
  const client::ClusterStatus cluster = admin.cluster_status().value();
  for (const client::BrokerStatus& broker : cluster.brokers) {
    std::cout << "broker " << broker.id << " is " << broker.state << " and leads " << broker.leaders
              << " partitions\n";
  }
}

void change_broker(client::Admin& admin) {
  // Holds until the broker restarts; all changes are made or none.
  const client::BrokerSettings settings =
      admin.change_broker_settings({{"log.level", "warning"}}).value();
  for (const client::BrokerSetting& setting : settings.settings) {
    if (setting.name == "log.level") {
      std::cout << setting.name << " is " << setting.value << ", from: " << setting.origin << '\n';
    }
  }
}

void change_topic(client::Admin& admin, const std::string& topic) {
  admin
      .alter_topic(topic,
                   {.settings = {{"retention.ms", "3600000"}}, .defaults = {"segment.bytes"}})
      .value();
  // Records with a key may go to other partitions from now on.
  admin.add_partitions(topic, 3).value();
  const client::TopicDescription now = admin.describe_topic(topic).value();
  std::cout << topic << " has " << now.partitions.size() << " partitions and retention.ms "
            << now.settings.at("retention.ms") << '\n';
}

// False where a partition refused; each settles by itself.
bool delete_oldest(client::Admin& admin, const std::string& topic) {
  // Those before offset 1 of partition 0, and all that partition 1 has now. A variable holds them:
  // value() of a temporary is gone before the loop begins.
  const std::vector<client::TrimmedPartition> trimmed =
      admin.delete_records(topic, {{0, 1}, {1, -1}}).value();
  bool is_done = true;
  for (const client::TrimmedPartition& partition : trimmed) {
    if (partition.problem.empty()) {
      std::cout << "partition " << partition.partition << " begins at offset "
                << partition.start_offset << '\n';
    } else {
      std::cerr << "partition " << partition.partition << ": " << partition.problem << '\n';
      is_done = false;
    }
  }
  return is_done;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: administer BROKER TOPIC\n";
    return 2;
  }
  client::ConnectOptions connect;
  connect.brokers = {argv[1]};
  client::Admin admin(connect);
  try {
    show_cluster(admin);
    change_broker(admin);
    change_topic(admin, argv[2]);
    return delete_oldest(admin, argv[2]) ? 0 : 1;
  } catch (const client::ErrorException& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
