// Consumer: reads partitions from positions that the program chooses.
//
//   tidelog::client::Consumer consumer({});
//   auto assigned = consumer.assign({{"events", 0, tidelog::client::Position::start()}});
//   auto polled = consumer.poll(std::chrono::seconds(1));
//
// Every checksum is checked; what does not verify is an error, never a record. The position never
// jumps by itself: an offset out of range, lost or diverged is reported, and the partition waits
// for seek() or assign().
//
// Thread: any, for all calls; of several poll() calls at once each gets records of its own, in
// turn. Only connect.log runs on the library's thread: wakeup(), close() and the questions
// (position(), lag(), high_watermark()) work there, and what would have to wait for an answer fails
// with INVALID_ARGUMENT. A consumer must not be destroyed there.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tidelog/error.h"
#include "tidelog/options.h"
#include "tidelog/record.h"

namespace tidelog::client {

// Where to begin: resolved at the leader when the partition is assigned or sought.
struct Position {
  enum class Kind : std::uint8_t { kStart, kEnd, kOffset, kTime };
  Kind kind = Kind::kStart;
  // An offset; ms since 1970 UTC; for kStart and kEnd a distance, not negative: start + value, end
  // - value (never below the start).
  std::int64_t value = 0;

  static Position start(std::int64_t after = 0) { return {Kind::kStart, after}; }
  static Position end(std::int64_t before = 0) { return {Kind::kEnd, before}; }
  static Position offset(std::int64_t offset) { return {Kind::kOffset, offset}; }
  // The first record with this timestamp or a later one.
  static Position time(std::int64_t timestamp_ms) { return {Kind::kTime, timestamp_ms}; }
};

struct Assignment {
  std::string topic{};
  std::int32_t partition = 0;
  Position position{};
};

struct ConsumerOptions {
  ConnectOptions connect{};
  // Received and not yet polled, over all partitions.
  std::size_t prefetch_bytes_max = 32 * 1024 * 1024;
  std::size_t fetch_bytes_max = 4 * 1024 * 1024;        // one answer
  std::size_t partition_fetch_bytes_max = 1024 * 1024;  // of one partition in it
  std::chrono::milliseconds fetch_wait{500};
  // How old what is known of topics may get before it is asked for again: so long it may take until
  // partitions that were added are read (follow()).
  std::chrono::milliseconds metadata_max_age{300000};
  // Largest decompressed batch.
  std::size_t uncompressed_batch_bytes_max = 64 * 1024 * 1024;
};

// What went wrong with one partition; it stays assigned and waits for seek().
struct PartitionError {
  std::string topic{};
  std::int32_t partition = 0;
  std::int64_t position = -1;
  Error error{};
  // Where reading can go on: the next sound offset, or where the log diverged.
  std::optional<std::int64_t> resume_offset{};
};

// A poll's records, in order per partition, and the memory they point into.
class ConsumedRecords {
 public:
  std::vector<ConsumedRecord> records{};
  std::vector<PartitionError> errors{};
  bool empty() const { return records.empty() && errors.empty(); }

 private:
  friend class Consumer;
  std::vector<std::shared_ptr<const void>> memory_{};
};

class Consumer {
 public:
  explicit Consumer(ConsumerOptions options);
  // As close() with a deadline of zero.
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // Replaces what is read; all of it begins unpaused. Positions are resolved before this returns;
  // fetching begins. On failure everything stays as it was. Fails with UNKNOWN_TOPIC,
  // INVALID_TOPIC_NAME, UNKNOWN_PARTITION, INVALID_ARGUMENT (a negative distance),
  // CONNECTION_FAILED, TIMED_OUT (after connect.request_timeout), CANCELLED (closed).
  Status assign(std::vector<Assignment> assignments);
  // Moves one assigned partition; prefetched records of it are dropped. Ends what an error stopped,
  // not a pause. Fails as assign(), and with INVALID_ARGUMENT (not assigned).
  Status seek(const std::string& topic, std::int32_t partition, Position position);

  // From now on partitions that are added to the topic are read as well, each from its start: those
  // from number `first` on, which is how many the program knows. Until the next assign(), or until
  // the topic is deleted. Fails with INVALID_ARGUMENT (no partition of the topic is assigned; a
  // negative number).
  Status follow(const std::string& topic, std::int32_t first);

  // Stops giving and fetching records of one assigned partition, and frees what was prefetched of
  // it; its position stays. resume() goes on there. Fail with INVALID_ARGUMENT (not assigned).
  Status pause(const std::string& topic, std::int32_t partition);
  Status resume(const std::string& topic, std::int32_t partition);

  // Records as soon as there are any, empty after `timeout`, wakeup() or close(). At most
  // `records_max` of them; without a smaller bound some thousands, of batches that have 32 MiB,
  // decompressed, before the last of them.
  ConsumedRecords poll(std::chrono::milliseconds timeout, std::size_t records_max = SIZE_MAX);
  // The poll() that waits, or else the next one, returns at once with what it has.
  void wakeup();

  // Offset of the next record that poll() would return; nullopt where the partition is not
  // assigned.
  std::optional<std::int64_t> position(const std::string& topic, std::int32_t partition) const;
  // The leader's high watermark as of its last answer. nullopt where the partition is not assigned,
  // and before the first answer, which this asks for: ask again.
  std::optional<std::int64_t> high_watermark(const std::string& topic,
                                             std::int32_t partition) const;

  // Records from position() to high_watermark(); 0: caught up. nullopt where that is.
  std::optional<std::int64_t> lag(const std::string& topic, std::int32_t partition) const;

  // The offset that a position stands for now; for kTime nullopt when no such record exists. The
  // partition need not be assigned. Fails as assign().
  Result<std::optional<std::int64_t>> resolve(const std::string& topic, std::int32_t partition,
                                              Position position);

  // Ends fetching and the connections, and every call in other threads; poll() gives nothing any
  // more. Returns within the deadline, or a second behind it where connect.log runs on and on: then
  // false, and the rest ends behind that. May be called again.
  bool close(std::chrono::milliseconds deadline);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidelog::client
