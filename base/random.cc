#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace tidelog {

void random_bytes(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = getrandom(out.data(), out.size(), 0);
    TIDELOG_CHECK(n > 0 || errno == EINTR, "the kernel must give random bytes");
    if (n > 0) out = out.subspan(static_cast<std::size_t>(n));
  }
}

std::uint64_t random_id() {
  std::uint64_t id = 0;
  while (id == 0) random_bytes(std::as_writable_bytes(std::span(&id, 1)));
  return id;
}

}  // namespace tidelog
