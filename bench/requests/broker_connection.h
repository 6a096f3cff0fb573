// A connection to a broker up to where requests can be sent: hello and metadata.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"

namespace tidelog::bench {

// Ends the process with a message where the broker does not do what is asked. Thread: one.
class BrokerConnection {
 public:
  // Waits 10 s for each answer. `address`: IPv4 "HOST:PORT".
  explicit BrokerConnection(const std::string& address);
  ~BrokerConnection();
  BrokerConnection(const BrokerConnection&) = delete;
  BrokerConnection& operator=(const BrokerConnection&) = delete;

  // All partitions of a topic, which is there.
  std::vector<TopicPartition> partitions_of(const std::string& topic);

  int socket() const { return socket_; }

 private:
  // The table of the answer, aligned to 8 bytes.
  std::vector<std::uint64_t> call(std::span<const std::byte> request);

  int socket_ = -1;
};

}  // namespace tidelog::bench
