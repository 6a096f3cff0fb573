#include "tests/integration/client_broker_fixture.h"

#include <cstdlib>
#include <filesystem>

#include "broker/settings.h"

namespace tidelog {

using namespace std::chrono_literals;

void ClientBrokerTest::SetUp() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/tidelog-client-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
  start_broker();
}

void ClientBrokerTest::TearDown() {
  stop_broker();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void ClientBrokerTest::start_broker() {
  broker::BrokerSettings settings;
  settings.data_dir = directory_ + "/data";
  settings.broker_id = BrokerId(1);
  settings.listen = {"127.0.0.1", port_};
  settings.admin_listen.reset();
  if (has_admin_pages_) settings.admin_listen = {"127.0.0.1", 0};
  settings.shards = shards_;
  settings.connections_per_address_max = connections_per_address_max_;
  settings.journal_bytes_max = 32 << 20;
  settings.log_level = LogLevel::kWarning;
  auto started = broker::Broker::start(settings);
  ASSERT_TRUE(started.has_value()) << started.error().to_string();
  broker_ = std::move(*started);
  port_ = broker_->port();
}

void ClientBrokerTest::stop_broker() {
  if (!broker_) return;
  // Far above what it takes: a slow machine is not what these tests look for.
  const Result<> stopped = broker_->stop(std::chrono::seconds(120));
  EXPECT_TRUE(stopped.has_value()) << stopped.error().to_string();
  broker_.reset();
}

void ClientBrokerTest::with_shards(int shards) {
  stop_broker();
  shards_ = shards;
  start_broker();
}

client::ConnectOptions ClientBrokerTest::connect() const {
  client::ConnectOptions options;
  options.brokers = {"127.0.0.1:" + std::to_string(port_)};
  return options;
}

void ClientBrokerTest::create_topic(const std::string& name, std::int32_t partitions) {
  client::Admin admin(connect());
  const client::Status created = admin.create_topic({.name = name, .partitions = partitions});
  ASSERT_TRUE(created.ok()) << created.error().to_string();
}

std::vector<ClientBrokerTest::Read> ClientBrokerTest::read(client::Consumer& consumer,
                                                           std::size_t count) {
  std::vector<Read> all;
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (all.size() < count && std::chrono::steady_clock::now() < until) {
    const client::ConsumedRecords polled = consumer.poll(500ms);
    for (const auto& error : polled.errors) {
      ADD_FAILURE() << error.error.to_string();
      return all;
    }
    for (const client::ConsumedRecord& record : polled.records) {
      const auto text = [](std::optional<std::string_view> from) {
        return from ? std::optional<std::string>(*from) : std::nullopt;
      };
      all.push_back({record.partition, record.offset, text(record.key), text(record.value),
                     record.timestamp_ms});
    }
  }
  return all;
}

std::vector<client::Assignment> ClientBrokerTest::all(const std::string& topic,
                                                      std::int32_t partitions) const {
  std::vector<client::Assignment> assignments;
  for (std::int32_t i = 0; i < partitions; ++i) {
    assignments.push_back({topic, i, client::Position::start()});
  }
  return assignments;
}

}  // namespace tidelog
