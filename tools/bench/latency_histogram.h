// Latencies in fixed memory, as HdrHistogram keeps them: buckets whose width grows with the value.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tidelog::tools {

// Counts from 0 ns to 2^63 ns; a value is known to one part in 64. 30 KiB. Thread: one at a time.
class LatencyHistogram {
 public:
  // Below zero counts as zero: clocks of two threads may differ by a little.
  void record(std::chrono::nanoseconds latency);
  void merge(const LatencyHistogram& other);

  std::uint64_t count() const { return count_; }
  // The value below or at which the share `quantile`, 0 to 1, of all values lies, at the upper end
  // of its bucket and never above max(). Zero without values.
  std::chrono::nanoseconds at(double quantile) const;
  std::chrono::nanoseconds max() const { return std::chrono::nanoseconds(max_); }

 private:
  // Values with up to kBits bits have a bucket each; of larger ones the leading kBits bits count.
  static constexpr int kBits = 7;
  static constexpr std::size_t kHalf = std::size_t{1} << (kBits - 1);
  static constexpr std::size_t kBuckets = (64 - kBits) * kHalf + 2 * kHalf;

  static std::size_t bucket_of(std::uint64_t value);
  static std::uint64_t largest_in(std::size_t bucket);

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace tidelog::tools
