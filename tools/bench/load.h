// Loads for brokers, made by the client library in this process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "tidelog/tidelog.h"
#include "tools/bench/latency_histogram.h"
#include "tools/interrupt.h"

namespace tidelog::tools {

// Records to write. The values are 64 random ones in turn, of printable bytes.
struct ProduceLoad {
  std::string topic;
  std::int32_t partitions = 1;  // of the topic; records go to them in turn
  std::int64_t records = 0;
  std::size_t record_bytes = 0;  // of a value
  double rate = 0;               // records a second; 0: the next as soon as there is room
  int connections = 1;           // producers; each takes its share of records and rate
  // Of each producer, unacknowledged at once; 0: as many as its buffer takes.
  std::int64_t outstanding_max = 0;
  // Consumers that each read everything as it comes; then `record_bytes` is 8 at least.
  int tail_consumers = 0;
  client::ProducerOptions producer;
};

// Records to read, from the start of the topic to where it ends when the load begins.
struct ConsumeLoad {
  client::TopicDescription topic;
  std::int64_t records_max = 0;  // in all; 0: all there are
  int connections = 1;           // consumers
  bool is_fan_out = false;       // each of them reads everything, instead of its partitions
  client::ConsumerOptions consumer;
};

struct LoadResult {
  std::int64_t records = 0;  // acknowledged, or read
  std::uint64_t bytes = 0;   // of their values
  double seconds = 0;
  double client_cpu_s = 0;
  std::uint64_t errors = 0;
  std::optional<client::Error> first_error;
  // Of produced records, each from when it was due (`rate`; else from produce(), with the wait for
  // room in the buffer) to its acknowledgement.
  LatencyHistogram acknowledgement;
  // From the same moment until a tail consumer has it; a value for each of them.
  LatencyHistogram end_to_end;
};

// How far a load is. Thread: any.
struct LoadProgress {
  std::atomic<std::int64_t> records = 0;
};

// Both return early, with what was done so far, once `stop` is set. Failed records are counted in
// the result; they fail with what kept the load from beginning or, when nothing comes for 30 s,
// with kTimedOut.
Result<LoadResult> run_produce_load(const ProduceLoad& load, const StopEvent& stop,
                                    LoadProgress& progress);
Result<LoadResult> run_consume_load(const ConsumeLoad& load, const StopEvent& stop,
                                    LoadProgress& progress);

// User and system time of this process.
double process_cpu_seconds();

}  // namespace tidelog::tools
