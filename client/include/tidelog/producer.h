// Producer: sends records to topics, batched, in order per partition.
//
//   tidelog::client::Producer producer({});
//   producer.produce({.topic = "events", .key = "k", .value = "v"},
//                    [](const tidelog::client::Result<tidelog::client::Delivery>& delivery) { ...
//                    });
//   producer.close(std::chrono::seconds(10));
//
// Order: records of one partition reach the log in the order one thread called produce(), and each
// of them once: whatever is lost on its way is sent again, and the broker knows it again
// (`idempotent`). Only what is still in doubt when its delivery timeout ends is reported as
// UNKNOWN_OUTCOME; any other error says that the record is not in the log.
//
// Thread: any, for all calls. Callbacks run on the library's one thread, one at a time: they must
// be short and must not throw; they may call try_produce(), produce() (which fails a record with
// OVERLOADED where it would have to wait), statistics() and close(). A producer must not be
// destroyed in its own callback.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string_view>

#include "tidelog/error.h"
#include "tidelog/options.h"
#include "tidelog/record.h"

namespace tidelog::client {

// Chooses a record's partition, from 0 to partitions - 1; nullopt leaves the choice to the library
// (by key, else one partition a batch).
using Partitioner =
    std::function<std::optional<std::int32_t>(const Record& record, std::int32_t partitions)>;

struct ProducerOptions {
  ConnectOptions connect{};
  Acks acks = Acks::kAll;
  Compression compression = Compression::kNone;
  // Higher is slower and smaller: gzip 1 to 9, lz4 1 to 12, zstd 1 to 19. 0: the codec's standard.
  // With a level that does not exist every record fails with INVALID_ARGUMENT.
  int compression_level = 0;
  // A batch is sent when it has this many bytes, or its first record waited for `linger` (at most
  // half of `delivery_timeout`), or the buffer is full.
  std::size_t batch_bytes_max = 256 * 1024;
  std::chrono::milliseconds linger{5};
  // Records accepted and not settled yet; produce() waits while it is full (try_produce() refuses).
  std::size_t buffer_bytes_max = 64 * 1024 * 1024;
  // Produce requests in flight per partition.
  int in_flight_max = 5;
  // From produce() to the record's result, and a second at most beyond it for an answer to the last
  // try (or the wait that a broker asks for, where this client is above its quota): what was never
  // sent, or certainly refused, then fails with TIMED_OUT, what may be in the log with
  // UNKNOWN_OUTCOME.
  std::chrono::milliseconds delivery_timeout{120000};
  // How old what is known of topics may get before it is asked for again: so long it may take until
  // records go to partitions that were added.
  std::chrono::milliseconds metadata_max_age{300000};
  // Number the records, so that the broker takes each once however often it is sent. Without it,
  // and always with Acks::kNone, a record in flight when a connection breaks is reported as
  // UNKNOWN_OUTCOME.
  bool idempotent = true;
  // Without `idempotent`: send such a record again instead. It may be in the log twice then.
  bool retry_unknown = false;
  // For records without a partition of their own. Runs inside produce(), or on the library's thread
  // for records whose topic had to be learnt first, one call at a time under the producer's lock:
  // it must be short and must not call the producer or throw. A partition that does not exist fails
  // the record with UNKNOWN_PARTITION.
  Partitioner partitioner{};
};

class Producer {
 public:
  // Starts the library's thread; connects when the first record arrives. Options that cannot work
  // (an address that is none) fail every record.
  explicit Producer(ProducerOptions options);
  // As close() with a deadline of zero. What callbacks still produce meanwhile is dropped, without
  // a callback.
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // Called once per record: a Delivery, or what went wrong with this record.
  using Callback = std::function<void(const Result<Delivery>&)>;

  // Accepts a record; waits while the buffer is full, which `delivery_timeout` bounds. The callback
  // (which may be null) runs exactly once, whatever happens, never inside this call. Fails, through
  // the callback, with INVALID_ARGUMENT (too many headers), BATCH_TOO_LARGE (a record larger than
  // its topic's limit or the whole buffer), INVALID_TOPIC_NAME, UNKNOWN_TOPIC, UNKNOWN_PARTITION,
  // TIMED_OUT (not sent within delivery_timeout), UNKNOWN_OUTCOME, CANCELLED (closed),
  // WRONG_CLUSTER (another cluster answers where the one of before did), and with what a broker
  // refused for good.
  void produce(Record record, Callback callback);
  // The same; the future never holds an exception.
  std::future<Result<Delivery>> produce(Record record);
  // As produce(), but instead of waiting: false, and nothing happened, while the buffer is full.
  bool try_produce(Record record, Callback callback);

  // Waits until everything accepted so far is settled and its callbacks have run, or the deadline.
  // Sends at once what waits for its linger. False: some is not, or this is a callback.
  bool flush(std::chrono::milliseconds deadline);
  // flush(), then ends the connections; nothing is accepted any more. What is left is settled:
  // never sent as CANCELLED, in flight as UNKNOWN_OUTCOME. Returns within the deadline; where a
  // callback runs on and on it may take a second more, and what is left is settled behind that
  // callback. True when nothing was left. May be called again; in a callback it does not wait, and
  // is false.
  bool close(std::chrono::milliseconds deadline);

  struct Statistics {
    std::uint64_t records_acknowledged = 0;
    std::uint64_t records_failed = 0;
    std::uint64_t records_unknown = 0;
    std::uint64_t bytes_acknowledged = 0;  // keys, values and headers
    std::uint64_t batches = 0;
    std::size_t buffered_bytes = 0;
  };
  Statistics statistics() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The partition that a key belongs to among `partitions`, as the producer chooses it: murmur2 with
// the seed of Apache Kafka's default partitioner, so that keys land alike. REQUIRES: partitions >
// 0.
std::int32_t partition_for_key(std::string_view key, std::int32_t partitions);

}  // namespace tidelog::client
