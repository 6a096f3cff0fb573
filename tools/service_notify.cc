#include "tools/service_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/logging.h"

namespace tidelog::tools {

void notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  const std::size_t length = std::strlen(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // a name that is in no directory
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return;
  const auto address_bytes =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + (path[0] == '/' ? 1 : 0));
  // The API wants a sockaddr, whatever the family.
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (::sendto(socket, state.data(), state.size(), MSG_NOSIGNAL, generic, address_bytes) < 0) {
    log_warning("the service manager could not be told of this broker's state");
  }
  ::close(socket);
}

}  // namespace tidelog::tools
