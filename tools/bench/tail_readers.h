// Consumers that read what a load writes as it comes, and clock it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "tidelog/tidelog.h"
#include "tools/bench/latency_histogram.h"
#include "tools/bench/payloads.h"

namespace tidelog::tools {

// Thread: one, but for on_due().
class TailReaders {
 public:
  // `records`: of the run, at most; eight bytes of memory each.
  TailReaders(int readers, std::int64_t records, client::ConnectOptions connect);
  // Ends the reading.
  ~TailReaders();
  TailReaders(const TailReaders&) = delete;
  TailReaders& operator=(const TailReaders&) = delete;

  // Begins behind what `topic` has now. Fails with what the brokers say, in words.
  Result<> start(const std::string& topic, std::int32_t partitions);

  // What `record` of the run carries in its value. Call before it is sent. Thread: any.
  Payloads::Stamp on_due(std::int64_t record, std::chrono::steady_clock::time_point due);

  // Waits until every reader has `records` of the run, at most five seconds without a new one; then
  // ends the reading. False where some did not come.
  bool finish(std::int64_t records);
  // All readers' together. REQUIRES: finished.
  LatencyHistogram latencies() const;
  const std::optional<client::Error>& error() const { return error_; }

 private:
  struct Reader {
    explicit Reader(client::ConsumerOptions options) : consumer(std::move(options)) {}
    client::Consumer consumer;
    LatencyHistogram latencies;
    std::atomic<std::int64_t> records = 0;
    std::optional<client::Error> error;  // read once the thread has ended
    std::thread thread;
  };

  void read(Reader& reader) const;
  void end();

  const std::uint64_t run_;
  std::vector<std::atomic<std::int64_t>> due_ns_;  // by record; of the steady clock
  std::vector<std::unique_ptr<Reader>> readers_;
  std::optional<client::Error> error_;
  std::atomic<bool> ends_ = false;
};

}  // namespace tidelog::tools
