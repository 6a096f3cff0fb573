#include "client/addresses.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "wire/limits.h"

namespace tidelog::client_core {

std::string HostPort::to_string() const {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<HostPort> parse_address(std::string_view text) {
  const auto refuse = [&] {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is no broker address; write HOST or HOST:PORT", text));
  };
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return refuse();
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) return refuse();
    port = rest.empty() ? rest : rest.substr(1);
    if (rest == ":") return refuse();
  } else if (std::ranges::count(text, ':') == 1) {
    const std::size_t colon = text.find(':');
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return refuse();
  }
  HostPort address{std::string(host), wire::kDefaultPort};
  if (host.empty()) return refuse();
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (error != std::errc() || end != port.data() + port.size() || address.port == 0) {
      return refuse();
    }
  }
  return address;
}

}  // namespace tidelog::client_core
