// What a bench prints: of a load, what came of it and what the brokers used for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/bench/broker_usage.h"
#include "tools/bench/load.h"

namespace tidelog::tools {

// What a load came to, beside what it was. `verb` outlives it.
struct Report {
  std::string_view verb;  // "produced"
  double rate = 0;        // records a second that were to be sent; 0: as many as possible
  LoadResult result;
  std::optional<BrokerUsage> usage;

  double achieved_per_s() const {
    return result.seconds > 0 ? static_cast<double>(result.records) / result.seconds : 0;
  }
  double megabytes_per_s() const {
    return result.seconds > 0 ? static_cast<double>(result.bytes) / 1e6 / result.seconds : 0;
  }
  std::uint64_t record_bytes() const {
    return result.records > 0 ? result.bytes / static_cast<std::uint64_t>(result.records) : 0;
  }

  // One line of JSON; null stands where nothing is known.
  std::string as_json() const;
  // Several lines for a person.
  std::string in_words() const;
};

}  // namespace tidelog::tools
