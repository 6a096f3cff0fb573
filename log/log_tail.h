// The newest batches of one log, in memory: where appends land, what the journal takes its bytes
// from, what tail reads are served from, and the very images that later go to the segment.
//
// A chunk is an aligned buffer: room for the segment's write header, then batches back to back. It
// is open while it takes appends, sealed when it is full or wanted for destaging, stable when a
// segment holds it. Stable chunks stay readable until the shard's tail cache gives them up, oldest
// first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "log/fifo.h"
#include "log/partition_log.h"
#include "log/write_header.h"
#include "wire/record_batch.h"

namespace tidelog::log {

inline constexpr std::size_t kChunkBytesMin = 4096;
inline constexpr std::size_t kChunkBytesMax = std::size_t{256} << 10;

struct TailChunk {
  enum class State : std::uint8_t { kOpen, kSealed, kStable };

  Buffer buffer;
  std::size_t used = kWriteHeaderBytes;
  Offset base;
  Offset end;
  std::vector<std::uint32_t> batches;  // positions, rising
  State state = State::kOpen;
  bool in_segment_write = false;  // of which a part may be in the segment, even if it failed

  // What the chunk takes up in a segment.
  std::size_t disk_bytes() const;
  // Base offset of the batch at `index`.
  Offset base_at(std::size_t index) const;
  // Behind the last byte of the batch at `index`.
  std::size_t end_at(std::size_t index) const;
  // Index of the last batch with base offset <= `offset`. REQUIRES: base <= offset.
  std::size_t find(Offset offset) const;
};

// Thread: the shard's.
class LogTail {
 public:
  LogTail(BufferPool& pool, Offset end) : pool_(pool), start_(end), end_(end), taken_(end) {}

  // Everything in [start(), end()) is here.
  Offset start() const { return start_; }
  Offset end() const { return end_; }
  // Bytes appended and not yet taken for the journal.
  std::size_t untaken_bytes() const { return untaken_bytes_; }
  // Bytes of chunks that are not stable.
  std::size_t unstable_bytes() const { return unstable_bytes_; }
  // When the oldest batch that is not stable was appended (µs); nullopt: there is none.
  std::optional<std::int64_t> oldest_unstable_append_us() const;
  // Memory of all chunks.
  std::size_t memory_bytes() const { return memory_bytes_; }

  // Copies `batch` behind the end and stamps the copy, which it shows. REQUIRES:
  // stamp.base_offset == end().
  wire::BatchView append(const wire::BatchView& batch, const wire::BatchStamp& stamp,
                         std::uint64_t seed);
  // Copies a batch that has its stamp already: the head that a truncation keeps. REQUIRES:
  // base_offset() == end().
  void append_stamped(const wire::BatchView& batch);

  struct Taken {
    Offset base;
    Offset next;
    std::size_t bytes = 0;
    std::uint64_t checksum = 0;  // chained header checksums of the batches
  };
  // Takes the oldest untaken whole batches, about `bytes_max` bytes and at least one, for a journal
  // write: adds the places of their bytes, which stay until the chunk is evicted, to `pieces`.
  // REQUIRES: untaken_bytes() > 0.
  Taken take(std::size_t bytes_max, std::vector<std::span<const std::byte>>& pieces);
  // Bytes that take() must be able to take at the least: the oldest untaken batch.
  std::size_t first_untaken_bytes() const;
  // Declares everything below `end`, a chunk's end, taken (what truncation keeps is journalled by
  // itself; what segments hold already needs no journal). Bytes that were not.
  std::size_t skip_untaken(Offset end);

  // Drops the batches at or above `from` that were not taken and are in no segment write; appends
  // go to another chunk then. Bytes that it dropped.
  std::size_t withdraw(Offset from);

  // Batches from the one that holds `from` on. REQUIRES: start() <= from < end().
  ReadResult read(Offset from, const ReadLimits& limits) const;

  // Closes the open chunk, so that it can be destaged.
  void seal();
  // Bytes of sealed chunks that end at or below `durable` and are not stable.
  std::size_t destageable_bytes(Offset durable) const;
  // The oldest chunks to destage, at most about `bytes_max` bytes: sealed, ending at or below
  // `durable`, not stable. They stay where they are until stable_until() or cut().
  std::vector<TailChunk*> destageable(Offset durable, std::size_t bytes_max);
  struct Freed {
    std::size_t chunks = 0;
    std::size_t bytes = 0;  // of memory
  };
  // Says that segments hold everything below `end`; chunks up to it count as stable. What became
  // so.
  Freed stable_until(Offset end);
  // Memory of the stable chunks.
  std::size_t stable_memory_bytes() const { return stable_memory_bytes_; }
  // Memory of the oldest chunk if it is stable, else 0.
  std::size_t evictable_bytes() const;
  // REQUIRES: evictable_bytes() > 0.
  void evict();

  // Drops everything from `end` on. REQUIRES: all chunks are stable; `end` is a chunk's base or
  // below start().
  void cut(Offset end);

  // Base offset and epoch of the first batch from the one that holds `from` on that reaches
  // `timestamp_ms` and ends at or below `up_to`. REQUIRES: start() <= from <= end().
  std::optional<PartitionLog::TimestampMatch> find_timestamp(Offset from, std::int64_t timestamp_ms,
                                                             Offset up_to) const;

 private:
  TailChunk& room_for(std::size_t bytes);
  std::span<std::byte> copy_in(const wire::BatchView& batch, Offset base);
  // Index of the chunk that holds `offset`. REQUIRES: start() <= offset < end().
  std::size_t chunk_of(Offset offset) const;

  BufferPool& pool_;
  Fifo<std::unique_ptr<TailChunk>> chunks_;
  Offset start_;
  Offset end_;
  Offset taken_;  // everything below went to the journal
  std::size_t untaken_bytes_ = 0;
  std::size_t unstable_bytes_ = 0;
  std::size_t memory_bytes_ = 0;
  std::size_t stable_memory_bytes_ = 0;
  std::size_t next_chunk_bytes_ = kChunkBytesMin;
};

}  // namespace tidelog::log
