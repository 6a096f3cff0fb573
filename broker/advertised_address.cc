#include "broker/advertised_address.h"

#include "broker/connection.h"
#include "broker/shard.h"

namespace tidelog::broker {
namespace {

// Empty for an address that cannot be written as HOST:PORT, such as one of a closed socket.
HostPort local_address(const ClientConnection& connection) {
  return parse_host_port(connection.local_address()).value_or(HostPort{});
}

}  // namespace

HostPort advertised_address(Shard& shard, const ClientConnection& connection) {
  const BrokerContext& broker = shard.broker();
  HostPort address = local_address(connection);
  if (!broker.advertised_host.empty()) address.host = broker.advertised_host;
  if (broker.advertised_port != 0) address.port = broker.advertised_port;
  return address;
}

HostPort admin_address(Shard& shard, const ClientConnection& connection) {
  const BrokerContext& broker = shard.broker();
  HostPort address{broker.admin_host, broker.admin_port.load(std::memory_order_relaxed)};
  const bool is_any = address.host == "0.0.0.0" || address.host == "::";
  if (is_any) address.host = local_address(connection).host;
  return address;
}

}  // namespace tidelog::broker
