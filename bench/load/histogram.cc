#include "bench/load/histogram.h"

#include <fmt/format.h>

#include <algorithm>

namespace tidelog::bench {

std::string Latencies::to_json() {
  std::ranges::sort(values_);
  const auto at = [this](double quantile) {
    if (values_.empty()) return 0.0;
    const auto index = static_cast<std::size_t>(quantile * static_cast<double>(values_.size()));
    return values_[std::min(index, values_.size() - 1)];
  };
  return fmt::format(
      R"({{"p50": {:.0f}, "p90": {:.0f}, "p99": {:.0f}, "p999": {:.0f}, "max": {:.0f}}})", at(0.5),
      at(0.9), at(0.99), at(0.999), at(1.0));
}

}  // namespace tidelog::bench
