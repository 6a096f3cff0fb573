// What a load costs the brokers, as their metrics tell.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tidelog::tools {

// Sums over brokers.
struct BrokerUsage {
  double cpu_s = 0;                 // user and system time since they started
  std::uint64_t written_bytes = 0;  // to journals and segments since they started
  std::uint64_t memory_bytes = 0;   // resident now
};

// Adds up what a page of /metrics says. Fails with kInvalidArgument where one of the figures is
// missing.
Result<BrokerUsage> usage_in_metrics(std::string_view page);

// Asks the admin pages of all brokers, "HOST:PORT" each; an answer may take two seconds. Fails with
// kConnectionFailed, naming the broker that does not answer, and with what usage_in_metrics() says.
Result<BrokerUsage> ask_usage(const std::vector<std::string>& admin_addresses);

}  // namespace tidelog::tools
