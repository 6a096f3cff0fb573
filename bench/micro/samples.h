// Batches for micro benchmarks.
#pragma once

#include <cstddef>

#include "base/buffer_pool.h"
#include "base/ids.h"

namespace tidelog::bench {

inline constexpr std::uint64_t kSeed = 1;  // of header checksums

// Uncompressed, as a producer sends it.
SharedBytes sample_batch(int records, std::size_t value_bytes);

}  // namespace tidelog::bench
