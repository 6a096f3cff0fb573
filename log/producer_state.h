// What one log knows of the idempotent producers that wrote to it: enough to recognise a batch that
// is sent again, to refuse one that leaves a gap, and to fence an older epoch.
//
// A function of the log alone: every batch, in the order of offsets, goes through apply(), and
// nothing else changes the table. So recovery builds the same table again, and a refused batch
// leaves no trace: whatever follows it is out of order until the sequence goes on where it broke,
// or a new epoch begins.
//
// Memory: at most `producers_max` producers (above it the one that has been silent for the most
// offsets goes), each with ranges of 16 bytes. Consecutive batches of a producer that lie back to
// back in the log share one range, so that the only writer of a log needs one (or some, where the
// topic's kind of timestamp was altered meanwhile). Of a producer that
// appends its newest ranges are kept: as many as `ranges_allowed()` says for the number of
// producers at that moment, and so at least as many of its newest batches. With the default limits
// a table has at most some 15,000 ranges, and some 600 KiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "wire/record_batch.h"

namespace tidelog::log {

// More records than this make another range. Half of all sequences: what lies further back looks as
// if it lay ahead.
inline constexpr std::int32_t kRangeRecordsMax = std::int32_t{1} << 30;

struct ProducerLimits {
  std::size_t producers_max = 1000;
  std::size_t ranges_max = 256;      // of a producer
  std::size_t ranges_least = 8;      // that each may have, more than a client sends ahead
  std::size_t ranges_shared = 2048;  // by those that append now
  // Forgotten when their last append is this much older than the log's newest.
  std::int64_t forget_after_us = std::int64_t{7} * 24 * 3600 * 1'000'000;

  // How many ranges one of so many producers may have. REQUIRES: producers > 0.
  std::size_t ranges_allowed(std::size_t producers) const;
};

// Records of one producer that follow one another in its sequence and in the log, and have one kind
// of timestamp.
struct ProducerRange {
  Offset base;
  std::int32_t sequence = 0;         // of the record at `base`
  std::uint32_t count : 31 = 0;      // of records, at least 1
  bool log_append_time : 1 = false;  // their timestamps are those of their append

  bool operator==(const ProducerRange&) const = default;
};

struct ProducerEntry {
  ProducerId id{-1};
  std::int16_t epoch = 0;
  std::int64_t last_append_us = 0;
  std::vector<ProducerRange> ranges;  // of this epoch, rising, at least one

  // The sequence that the next batch begins with. Sequences go on at 0 behind 2^31 - 1.
  std::int32_t next_sequence() const;

  bool operator==(const ProducerEntry&) const = default;
};

// Thread: the shard's, or the one that recovers.
class ProducerTable {
 public:
  explicit ProducerTable(const ProducerLimits& limits = {}) : limits_(limits) {}
  ProducerTable(const ProducerTable& other);
  ProducerTable& operator=(const ProducerTable& other);
  ProducerTable(ProducerTable&&) = default;
  ProducerTable& operator=(ProducerTable&&) = default;
  ~ProducerTable() = default;

  // A batch that the log holds already.
  struct Original {
    Offset base;  // -1: older than what is remembered
    Offset end;   // once this is stable, so are its records
    // False: its records keep their own timestamps. Else they have that of their append, or nobody
    // knows; which time that was is not remembered.
    bool timestamp_forgotten;
  };
  // Whether `batch` may be appended now (nullopt) or is there already. REQUIRES: it has a producer
  // id. Fails with kUnknownProducer (nothing of it is remembered, and it does not begin with
  // sequence 0), kOutOfOrderSequence (what comes before it is missing, or a new epoch does not
  // begin with 0), kFencedProducer (a later epoch has begun).
  Result<std::optional<Original>> check(const wire::BatchView& batch) const;

  // Takes note of a stamped batch of the log. Any batch counts, also one without a producer: time
  // goes on by it.
  void apply(const wire::BatchView& batch);

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  // Silent for the most offsets first.
  const std::list<ProducerEntry>& entries() const { return entries_; }
  // Puts back an entry of a snapshot, behind the others. False: there is one of this producer.
  bool restore(ProducerEntry entry);

  bool operator==(const ProducerTable& other) const { return entries_ == other.entries_; }

 private:
  void extend(ProducerEntry& entry, const wire::BatchView& batch) const;
  void forget_first();

  ProducerLimits limits_;
  std::list<ProducerEntry> entries_;
  std::unordered_map<ProducerId, std::list<ProducerEntry>::iterator> by_id_;
};

}  // namespace tidelog::log
