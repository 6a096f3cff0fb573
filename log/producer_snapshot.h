// The producers of a log as bytes: the last part of an .idx file, whose checksum covers it. It says
// what the table was behind the last batch that the index covers.
//
//   u32 producers (at most 1,000); u32 zero; per producer, silent for the most offsets first:
//   0   i64 producer id
//   8   i64 append time of its last batch, µs
//   16  i16 epoch; u16 ranges (1 to 256); u32 zero
//   24  ranges, rising: i64 base offset; i32 sequence; u32 records, and bit 31: their
//       timestamps are those of their append
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "log/producer_state.h"

namespace tidelog::log {

// Bytes of the snapshot.
std::size_t producer_snapshot_bytes(const ProducerTable& table);
// REQUIRES: `to` has producer_snapshot_bytes().
void encode_producers(const ProducerTable& table, std::span<std::byte> to);
// Nullopt when anything is wrong with it: a count above the limits, a range that does not rise,
// bytes behind it. Nothing is allocated for what is not there.
std::optional<ProducerTable> decode_producers(std::span<const std::byte> from);

}  // namespace tidelog::log
