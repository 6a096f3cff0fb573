// A broker in this process on a temporary directory, which can be stopped and started on the same
// port, and clients of it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "tidelog/tidelog.h"

namespace tidelog {

class ClientBrokerTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  void start_broker();
  void stop_broker();
  // Stops it, and starts it with so many shards.
  void with_shards(int shards);

  client::ConnectOptions connect() const;
  void create_topic(const std::string& name, std::int32_t partitions);

  // One record as it was read, copied.
  struct Read {
    std::int32_t partition;
    std::int64_t offset;
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::int64_t timestamp_ms;
  };
  // Polls until `count` records came, or 60 s passed; errors fail the test.
  std::vector<Read> read(client::Consumer& consumer, std::size_t count);
  // All partitions of a topic from their start.
  std::vector<client::Assignment> all(const std::string& topic, std::int32_t partitions) const;

  std::string directory_;
  std::uint16_t port_ = 0;
  int shards_ = 2;
  bool has_admin_pages_ = false;
  std::size_t connections_per_address_max_ = 0;
  std::unique_ptr<broker::Broker> broker_;
};

}  // namespace tidelog
