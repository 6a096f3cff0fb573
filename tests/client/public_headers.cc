// Compiled by itself (see CMakeLists.txt): what a user of the library writes, with nothing but its
// headers.
#include <tidelog/tidelog.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace {

using namespace std::chrono_literals;

[[maybe_unused]] bool write_and_read(const std::string& brokers) {
  tidelog::client::ConnectOptions connect{.brokers = {brokers}};
  tidelog::client::Admin admin(connect);
  if (!admin.create_topic({.name = "events", .partitions = 3}).ok()) return false;

  tidelog::client::Producer producer({.connect = connect, .linger = 0ms});
  auto sent = producer.produce({.topic = "events", .key = "k", .value = "v"});
  producer.produce({.topic = "events", .value = "w", .headers = {{"trace", "1"}}},
                   [](const tidelog::client::Result<tidelog::client::Delivery>& delivery) {
                     if (!delivery && delivery.error().unknown_outcome()) return;
                   });
  if (!producer.close(10s)) return false;
  const std::int64_t offset = sent.get().value().offset;

  tidelog::client::Consumer consumer({.connect = connect});
  const auto assigned = consumer.assign({{"events", 0, tidelog::client::Position::offset(offset)}});
  if (!assigned) return false;
  std::optional<std::string> last;
  for (const auto& record : consumer.poll(1s).records) {
    if (record.value) last = std::string(*record.value);
  }
  return last == "v";
}

}  // namespace
