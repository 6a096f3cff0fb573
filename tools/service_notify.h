// Tells a service manager how far this process is, in the way that systemd's Type=notify expects: a
// datagram to the socket that NOTIFY_SOCKET names.
#pragma once

#include <string_view>

namespace tidelog::tools {

// Sends "READY=1", "STOPPING=1" or another state; nothing happens where no service manager
// listens, and nothing fails: the manager's own timeout finds what did not arrive.
void notify_service_manager(std::string_view state);

}  // namespace tidelog::tools
