// Limits both sides check before they allocate. A broker's hello names those it enforces.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tidelog::wire {

inline constexpr std::uint16_t kDefaultPort = 9700;
inline constexpr std::uint16_t kDefaultAdminPort = 9701;

// Largest frame before the hello is answered, and after it.
inline constexpr std::size_t kHelloFrameBytesMax = 64 * 1024;
inline constexpr std::size_t kFrameBytesMax = 8 * 1024 * 1024;
// Largest batch: batch limit + 64 KiB <= frame limit on both sides, so that one whole batch always
// fits.
inline constexpr std::size_t kBatchBytesMax = 4 * 1024 * 1024;
inline constexpr std::size_t kFrameOverheadBytesMax = 64 * 1024;
// What the records of one batch may become when decompressed.
inline constexpr std::size_t kUncompressedBatchBytesMax = 64 * 1024 * 1024;
inline constexpr std::int32_t kRecordsPerBatchMax = 1'000'000;
// Read headers take more memory than stored ones, which compression makes almost nothing of.
inline constexpr std::size_t kHeadersPerRecordMax = 65'536;

inline constexpr std::uint32_t kRequestsInFlightMax = 1024;
inline constexpr std::size_t kBytesInFlightMax = 32 * 1024 * 1024;
inline constexpr std::uint32_t kUnsettledBatchesMax = 256;  // per producer and partition

inline constexpr std::chrono::seconds kHelloTimeout{10};
inline constexpr std::chrono::seconds kIdleTimeout{600};
// The longest that a fetch is parked; a longer max_wait is cut to it.
inline constexpr std::chrono::seconds kFetchWaitMax{60};
// A frame, once begun, must arrive at this rate.
inline constexpr std::size_t kFrameBytesPerSecondMin = 64 * 1024;

inline constexpr std::size_t kTopicNameBytesMax = 249;
inline constexpr std::int32_t kPartitionsPerTopicMax = 10'000;
inline constexpr std::size_t kPartitionsPerRequestMax = 20'000;

static_assert(kBatchBytesMax + kFrameOverheadBytesMax <= kFrameBytesMax);

}  // namespace tidelog::wire
