#include "bench/loopback_pair.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/support.h"

namespace tidelog::bench {

LoopbackPair::LoopbackPair() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || bind(listener, generic, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, generic, &length) != 0) {
    fail_with_errno("listen on loopback");
  }
  near_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (near_ < 0 || connect(near_, generic, length) != 0) fail_with_errno("connect on loopback");
  far_ = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (far_ < 0) fail_with_errno("accept on loopback");
  close(listener);
  const int on = 1;
  setsockopt(near_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(far_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

LoopbackPair::~LoopbackPair() {
  close(near_);
  close(far_);
}

}  // namespace tidelog::bench
