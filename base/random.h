// Randomness that nobody can guess, for identities (topic, file, cluster, directory ids).
// State machines never call this: they are handed their random numbers, so that a seed replays
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidelog {

// Fills `out` from the kernel's generator. Thread: any.
void random_bytes(std::span<std::byte> out);

// A random number, never 0 (0 stands for "none" in every file format). Thread: any.
std::uint64_t random_id();

}  // namespace tidelog
