// The least that a server of durable appends must do: one thread, one connection, TCP receive,
// XXH3, stage, O_DIRECT and RWF_DSYNC into written blocks with two writes in flight, acknowledge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bench/support.h"

namespace tidelog::bench {

// What the floor understands.
class FloorProtocol {
 public:
  virtual ~FloorProtocol() = default;
  // Bytes of the request at the front; 0: it is not there as a whole.
  virtual std::size_t request_bytes(std::span<const std::byte> bytes) const = 0;
  // Checks a whole request, and gives what is to be stored of it and what its answer needs. Ends
  // the process where it is not sound.
  struct Content {
    std::span<const std::byte> stored;
    std::uint64_t id = 0;
  };
  virtual Content check(std::span<const std::byte> request) = 0;
  // Appends the answer to a stored request.
  virtual void answer(std::uint64_t id, std::vector<std::byte>& to) = 0;
};

// Serves until the peer ends its sending. Returns the CPU seconds of the thread. `file` has written
// blocks.
double serve_floor(int socket, FloorProtocol& protocol, const ScratchFile& file);

}  // namespace tidelog::bench
