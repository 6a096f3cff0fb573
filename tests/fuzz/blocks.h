// Files made of blocks, as segments and journals are, in a form that a fuzzer can work on: without
// the zeros, and with checksums that are made right where it is not they that are looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace tidelog::fuzz {

// The partition whose files they are.
TopicPartition fuzzed_partition();

// Per block a u16 length and so many bytes; zeros fill the block. A length above a block's counts
// as a block's, and what `packed` lacks is not there. At most 64 blocks.
std::vector<std::byte> unpack_blocks(std::span<const std::byte> packed);
// The other way round: zeros at the end of a block are left out.
std::vector<std::byte> pack_blocks(std::span<const std::byte> file);

// Signs the batches at the start of `bytes` as the partition's; returns the chain of their header
// checksums, as a journal's entry has it.
std::uint64_t make_batches_sound(std::span<std::byte> bytes, const TopicPartition& partition);

// Makes the checksums right of whatever begins like a file's header, a write or a batch.
void make_sound(std::vector<std::byte>& file);

}  // namespace tidelog::fuzz
