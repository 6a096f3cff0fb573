// "HOST[:PORT]" as people write broker addresses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidelog::client_core {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;

  bool operator==(const HostPort&) const = default;
  std::string to_string() const;
};

// Reads "host", "host:port", "[v6]", "[v6]:port"; port 9700 when left out.
// Fails with kInvalidArgument.
Result<HostPort> parse_address(std::string_view text);

}  // namespace tidelog::client_core
