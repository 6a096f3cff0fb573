// What IoQueue requires of its callers (io_queue.h), checked by every implementation in the same
// words.
#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"

namespace tidelog::log::io {

// CHECKs position, addresses and lengths of a write; returns its total length.
std::uint64_t check_write_request(FilePosition position,
                                  std::span<const std::span<const std::byte>> pieces);
void check_read_request(FilePosition position, std::span<std::byte> into);

}  // namespace tidelog::log::io
