// Latencies in µs, kept exactly: bench runs are short enough to remember every one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tidelog::bench {

class Latencies {
 public:
  void add(double us) { values_.push_back(us); }
  // {"p50": ..., "p90": ..., "p99": ..., "p999": ..., "max": ...}; all 0 without values. Sorts in
  // place.
  std::string to_json();

 private:
  std::vector<double> values_;
};

}  // namespace tidelog::bench
