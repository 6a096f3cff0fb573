// What is left of a gathered write, as the kernel wants it: shared by the queues that talk to it.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace tidelog::log::io {

class GatherCursor {
 public:
  void reset(FilePosition position, std::span<const std::span<const std::byte>> pieces);

  bool done() const { return next_ == pieces_.size(); }
  FilePosition position() const { return position_; }
  // The pieces of the next system call: not empty unless done(), at most what one call takes.
  std::span<const iovec> next() const;

  // After a call that wrote `bytes`. A short write that ended inside a sector goes on from that
  // sector's beginning, for O_DIRECT takes no other; its first bytes are written again as they are.
  // False: not one sector came through, as when space ran out within it.
  [[nodiscard]] bool advance(std::uint64_t bytes);

 private:
  std::vector<iovec> pieces_;
  std::size_t next_ = 0;
  FilePosition position_;
};

}  // namespace tidelog::log::io
