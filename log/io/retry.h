// What the queues do when the kernel says EAGAIN: it lacked memory for a moment.
#pragma once

#include <chrono>

namespace tidelog::log::io {

// Each attempt comes this long after the one before, so that the moment may pass.
inline constexpr std::chrono::milliseconds kRetryAfter{1};
// Ten seconds at least; more often than this it is an error like others.
inline constexpr int kRetriesMax = 10'000;

}  // namespace tidelog::log::io
