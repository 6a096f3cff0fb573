// One replica's log of one partition: an ordered sequence of record batches on this disk.
//
// Life of a batch: append() stamps it, copies it once into the tail (readable at once, not yet
// stable) and stages it; the shard's journal commits all staged bytes of all its logs together;
// when the journal write and all earlier ones of this log are stable, durable_end() advances and
// the listener hears of it; later the destager copies the bytes into the segment and the journal's
// space is free again.
//
// The start moves up by retention (age, size; looked at from time to time and with each new
// segment) and by trim().
//
// Invariants: log_start <= recovered and durable <= log_end. durable_end never goes back except by
// truncate(). A record below durable_end() survives kill -9 and power loss. Thread: the shard that
// owns it. Callbacks run on the shard's executor, never inside the call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/log_options.h"

namespace tidelog::log {

// Where an entry of a produce request came to lie.
struct AppendResult {
  Offset base_offset;
  Offset next_offset;
  std::int64_t append_time_us;  // what all timestamps were set to; -1: records keep their own
  // Nothing was appended: these records of an idempotent producer are in the log already, at
  // `base_offset` (-1 where that is no longer known). They are as stable as durable_end() is above
  // `next_offset`; what their timestamps were set to, if so, is not known (-2).
  bool duplicate = false;
};

struct ReadLimits {
  // Only whole batches that end at or below this offset are returned: the high watermark for
  // consumers, log_end() for followers.
  Offset up_to;
  std::size_t bytes_max;
  // Return the first batch even when it alone exceeds bytes_max.
  bool at_least_one = true;
};

// Whole batches, back to back in their order. The first may begin before the offset asked for.
struct ReadResult {
  std::vector<SharedBytes> pieces;
  std::size_t bytes = 0;
  Offset base_offset;  // of the first batch; the offset asked for when empty
  Offset next_offset;  // behind the last batch; the offset asked for when empty
};

// A recorded range of offsets that this replica lost and never serves (storage.md, recovery).
struct Hole {
  Offset begin;
  Offset end;

  bool operator==(const Hole&) const = default;
};

// Whether one of `holes` has all of `range` in it.
inline bool covers(std::span<const Hole> holes, const Hole& range) {
  return std::ranges::any_of(
      holes, [&](const Hole& hole) { return hole.begin <= range.begin && range.end <= hole.end; });
}

enum class LogHealth : std::uint8_t {
  kSound,
  kLossy,   // acknowledged records are missing: no appends, reads of what is sound
  kFailed,  // a write or sync failed: no appends until the broker starts again
};

class PartitionLog {
 public:
  virtual ~PartitionLog() = default;

  virtual const TopicPartition& id() const = 0;

  // First offset that can be read.
  virtual Offset log_start() const = 0;
  // Behind the last appended record.
  virtual Offset log_end() const = 0;
  // Everything below is on stable storage.
  virtual Offset durable_end() const = 0;
  // Epoch of the last batch, or -1 for an empty log.
  virtual LeaderEpoch last_epoch() const = 0;
  virtual LogHealth health() const = 0;
  virtual std::vector<Hole> holes() const = 0;
  virtual std::uint64_t size_bytes() const = 0;  // of the batches kept

  // Appends the batches in `batches` (one or more, whole, back to back): gives them offsets from
  // log_end() and `epoch`, and stages them for the next journal write. The bytes are copied;
  // `batches` may go when the call returns. Returns before they are stable: see on_durable().
  // A batch with a producer id comes alone; it is appended when it continues its producer's
  // sequence (log/producer_state.h). REQUIRES: each batch passed BatchView::parse and verify;
  // epoch >= last_epoch().
  // Fails with kStorageFull (no space: retriable), kOverloaded (too much not yet stable, or a
  // truncation under way: retriable), kStorageFailed, kLostData, kBatchTooLarge, kUnknownPartition,
  // kInvalidBatch, kOutOfOrderSequence, kUnknownProducer, kFencedProducer; then nothing was
  // appended.
  virtual Result<AppendResult> append(std::span<const std::byte> batches, LeaderEpoch epoch) = 0;

  // Takes back the batches at or above `from` that no write to the disk ever held, when the disk
  // has no space for them: they are not in the log, no start will find them, and what was known of
  // their producers goes with them. Returns log_end(), which is where they began. What it took back
  // is the last that was appended: the log takes nothing in its place until the next start.
  // REQUIRES: nothing at or above `from` was acknowledged, or told to readers.
  virtual Offset withdraw(Offset from) = 0;

  // The listener hears each new durable_end(). One listener; replaces the former.
  virtual void on_durable(std::function<void(Offset)> listener) = 0;
  // Hears once when health() leaves kSound.
  virtual void on_failure(std::function<void(const Error&)> listener) = 0;

  // Reads what the tail holds, without the disk; nullopt when the disk is needed (use read()).
  // Fails with kOffsetOutOfRange (below log_start() or above limits.up_to), kCorruptData, kLostData
  // (the message names the range and the next sound offset).
  virtual std::optional<Result<ReadResult>> read_tail(Offset from, const ReadLimits& limits) = 0;

  using ReadCallback = std::move_only_function<void(Result<ReadResult>)>;
  // Reads from tail or disk. Every batch that came from the disk was verified. Fails as
  // read_tail(), kStorageFailed.
  virtual void read(Offset from, const ReadLimits& limits, ReadCallback done) = 0;

  // The next offset >= `from` that can be read, for kCorruptData and kLostData answers; nullopt:
  // none.
  virtual std::optional<Offset> next_sound_offset(Offset from) const = 0;

  // Where reads since the start found that the disk gives back something else than was written, at
  // or above log_start(); rising. They are refused with kCorruptData.
  virtual std::vector<Hole> damaged_ranges() const = 0;

  struct TimestampMatch {
    Offset base_offset;  // of the first batch whose max timestamp is >= the one asked for
    LeaderEpoch epoch;
  };
  using FindCallback = std::move_only_function<void(Result<std::optional<TimestampMatch>>)>;
  virtual void find_timestamp(std::int64_t timestamp_ms, Offset up_to, FindCallback done) = 0;

  struct EpochEnd {
    LeaderEpoch epoch;  // the highest epoch <= the one asked for, -1 where there is none
    Offset end;         // where it ends
  };
  virtual EpochEnd epoch_end(LeaderEpoch epoch) const = 0;

  // What the next checkpoints say; at most durable_end() counts after a restart.
  virtual void set_checkpointed_high_watermark(Offset offset) = 0;
  // The high watermark of the last checkpoint before the start; log_start() where there was none.
  virtual Offset recovered_high_watermark() const = 0;

  using DoneCallback = std::move_only_function<void(Result<>)>;
  // Drops everything from `offset` on, durably: writes in flight end first, then later segments go
  // newest first, the cut is synced, epochs are rolled back. No append until `done`.
  virtual void truncate(Offset offset, DoneCallback done) = 0;

  // Makes `offset` the log's start, when it is above it: reads below fail from now on; durable when
  // `done` runs. The files of whole segments below go later, on a file thread, when their last
  // reader has gone. Fails with kOffsetOutOfRange (above log_end()), kOverloaded (above
  // durable_end(), or a truncation is under way: retriable), kDraining, kLostData,
  // kUnknownPartition, kStorageFailed.
  virtual void trim(Offset offset, DoneCallback done) = 0;

  // The topic's settings changed: they count from now on.
  virtual void change_settings(const PartitionLogSettings& settings) = 0;
};

}  // namespace tidelog::log
