// Walks the batches of a write and proves each of them: the one place that decides whether bytes
// from a disk are what the log wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/ids.h"
#include "wire/record_batch.h"

namespace tidelog::log {

// No batch on a disk is larger; guards sizes read from it.
inline constexpr std::size_t kStoredBatchBytesMax = std::size_t{1} << 30;

// What the next batch must continue.
struct BatchPlace {
  Offset next;
  LeaderEpoch epoch{-1};  // not decreasing
};

// `position`: of the batch, counted as `start` is.
using BatchVisitor = std::function<void(std::uint64_t position, const wire::BatchView&)>;

// Proves that `bytes`, which start at byte `start` of their file, hold whole batches that continue
// `place`: magic, lengths, base offset, epoch, header checksum, and the records' checksum of
// batches at or above `records_from`. Zeros up to the next 512-byte boundary before a batch are
// skipped. Returns what is wrong, or nullopt, and then `place` has moved behind the last batch and
// `visit`, if any, saw each batch.
std::optional<std::string> walk_batches(std::span<const std::byte> bytes, std::uint64_t start,
                                        std::uint64_t seed, Offset records_from, BatchPlace& place,
                                        const BatchVisitor& visit);

}  // namespace tidelog::log
