// Addresses that work from where a client is.
#pragma once

#include "broker/settings.h"

namespace tidelog::broker {

class ClientConnection;
class Shard;

// Where clients find this broker: the address it was told to advertise, else the one by which this
// client came.
HostPort advertised_address(Shard& shard, const ClientConnection& connection);

// Where this client finds the admin pages; port 0 when they are off. Pages on all of the machine's
// addresses are at the one by which the client came.
HostPort admin_address(Shard& shard, const ClientConnection& connection);

}  // namespace tidelog::broker
