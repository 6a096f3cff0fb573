// Counts what operator new is called for between two lines of a benchmark. Pooled buffers do not
// come from there.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace tidelog::bench {

// Calls of operator new by this thread so far.
std::uint64_t allocations();

// Adds the counter "allocs/op" to a benchmark when it goes: stands in front of its loop.
class CountAllocations {
 public:
  explicit CountAllocations(benchmark::State& state) : state_(state), before_(allocations()) {}
  ~CountAllocations() {
    state_.counters["allocs/op"] = benchmark::Counter(static_cast<double>(allocations() - before_),
                                                      benchmark::Counter::kAvgIterations);
  }
  CountAllocations(const CountAllocations&) = delete;
  CountAllocations& operator=(const CountAllocations&) = delete;

 private:
  benchmark::State& state_;
  const std::uint64_t before_;
};

}  // namespace tidelog::bench
