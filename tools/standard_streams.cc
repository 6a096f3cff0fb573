#include "tools/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace tidelog::tools {

void open_missing_standard_streams() {
  // The wrong direction on purpose: who uses the stream hears of it.
  constexpr std::array<int, 3> kModes{O_WRONLY, O_RDONLY, O_RDWR};
  for (int fd = 0; fd < 3; ++fd) {
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one, since those below are open.
    if (open("/dev/null", kModes[static_cast<std::size_t>(fd)]) != fd) std::abort();
  }
}

}  // namespace tidelog::tools
