// What became of the records that produce sent: counts, offsets, the first failure, and the lines
// of produce -o.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tidelog/tidelog.h"
#include "tools/format.h"
#include "tools/output.h"

namespace tidelog::tools {

// Prints one line per acknowledged record, in the order of acknowledgement, on a thread of its own,
// so that a slow reader of the output never holds up the client's thread. What was printed was
// acknowledged before.
class AcknowledgementPrinter {
 public:
  // Lines that nobody reads are given up once `stop` is set. `stop` outlives this.
  AcknowledgementPrinter(Format format, int fd, const StopEvent& stop);
  ~AcknowledgementPrinter() { finish(); }
  AcknowledgementPrinter(const AcknowledgementPrinter&) = delete;
  AcknowledgementPrinter& operator=(const AcknowledgementPrinter&) = delete;

  // True when the format prints something of the record itself.
  bool needs_contents() const { return needs_contents_; }
  // Thread: the client's.
  void add(const RecordFields& record);
  // Waits until less than 16 MiB of lines are unwritten. Thread: the one that produces.
  void wait_for_room();
  // Writes everything and ends the thread. Returns why lines could not be written, if so.
  // Safe to call twice.
  std::optional<Error> finish();

 private:
  void write_lines();

  const Format format_;
  const bool needs_contents_;
  Output output_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string waiting_;
  bool is_finishing_ = false;
  std::optional<Error> error_;
  std::thread writer_;
};

struct OffsetSpan {
  std::int64_t first = -1;
  std::int64_t last = -1;
};

class DeliveryLedger {
 public:
  // `printer` may be null; else it outlives the ledger. `one_partition`: all records go to the
  // same, so that one which is missing is missing for all.
  DeliveryLedger(AcknowledgementPrinter* printer, bool one_partition)
      : printer_(printer), one_partition_(one_partition) {}

  // True when this failure means that going on with later records makes no sense.
  using Result = client::Result<client::Delivery>;
  // Thread: the client's.
  bool settle(const Result& result, const client::Record* contents);

  // Thread: any.
  std::uint64_t acknowledged() const { return acknowledged_.load(std::memory_order_relaxed); }
  std::uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }
  std::uint64_t unknown() const { return unknown_.load(std::memory_order_relaxed); }

  // Only once nothing is left to settle.
  const std::optional<client::Error>& first_failure() const { return first_failure_; }
  const std::optional<client::Error>& first_unknown() const { return first_unknown_; }
  const std::map<std::int32_t, OffsetSpan>& partitions() const { return partitions_; }

 private:
  void acknowledge(const client::Delivery& delivery, const client::Record* contents);
  bool concerns_one_record(const client::Error& error) const;

  AcknowledgementPrinter* printer_;
  const bool one_partition_;
  std::atomic<std::uint64_t> acknowledged_ = 0;
  std::atomic<std::uint64_t> failed_ = 0;
  std::atomic<std::uint64_t> unknown_ = 0;
  std::optional<client::Error> first_failure_;
  std::optional<client::Error> first_unknown_;
  std::map<std::int32_t, OffsetSpan> partitions_;
};

}  // namespace tidelog::tools
