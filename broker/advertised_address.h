// Addresses that work from where a client is.
#pragma once

#include "broker/settings.h"

namespace tidelog::broker {

class ClientConnection;
class Shard;

// Where clients find this broker: the address it was told to advertise, else the one by which this
// client came.
HostPort advertised_address(Shard& shard, const ClientConnection& connection);

}  // namespace tidelog::broker
