// Finds the offset that a position stands for, by asking the partition's leader: start and end from
// its list of offsets; a timestamp by the batch that holds it, whose records are then looked at. A
// batch that was trimmed in part may hold no such record any more: then one behind it does.
//
// Thread: its executor's.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "client/broker_pool.h"
#include "client/cluster_metadata.h"
#include "tidelog/consumer.h"

namespace tidelog::client_core {

// Where to begin, and the topic that this holds for.
struct ResolvedOffset {
  std::optional<std::int64_t> offset;  // absent: no record is that young
  std::int64_t end = 0;                // then: the high watermark
  TopicId topic;
};

class OffsetResolver {
 public:
  struct Options {
    std::chrono::milliseconds timeout{30000};
    std::chrono::milliseconds backoff_min{50};
    std::chrono::milliseconds backoff_max{2000};
    std::size_t uncompressed_bytes_max = 64 * 1024 * 1024;
  };
  // All references must outlive this.
  OffsetResolver(Executor& executor, BrokerPool& pool, ClusterMetadata& metadata,
                 std::shared_ptr<BufferPool> buffers, Options options, std::uint64_t seed);
  ~OffsetResolver();
  OffsetResolver(const OffsetResolver&) = delete;
  OffsetResolver& operator=(const OffsetResolver&) = delete;

  using Callback = std::move_only_function<void(Result<ResolvedOffset>)>;
  // Never runs `done` inside this call. Fails with kInvalidTopicName, kUnknownTopic,
  // kUnknownPartition, kConnectionFailed, kTimedOut, or what the leader answered.
  void resolve(const std::string& topic, std::int32_t partition, client::Position position,
               Callback done);

  // Call when the pool or the metadata changed.
  void advance();
  // Fails what is under way.
  void cancel_all(const Error& reason);

 private:
  enum class Step : std::uint8_t { kFirst, kStartOfEnd, kEndOfTime, kScan };
  struct Operation {
    std::string topic;
    PartitionIndex partition;
    client::Position position;
    SteadyTime deadline;
    std::uint64_t rounds_at_start = 0;
    std::uint64_t answers_at_start = 0;  // of the metadata
    Callback done;
    Step step = Step::kFirst;
    std::int64_t found = -1;  // by the step before; where to scan from
    bool scans_on = false;    // the batch that was found had no such record
    bool waiting_for_answer = false;
    SteadyTime not_before{};
    std::uint64_t metadata_after = 0;
    std::optional<Error> trouble;
    TimerId timer = 0;
    std::shared_ptr<int> alive = std::make_shared<int>();
  };
  using At = std::list<Operation>::iterator;

  static bool has_name(const Operation& operation);
  // Takes the next step, if it can be taken now. May finish the operation.
  void proceed(At at);
  void wait_for_timer(At at);
  void list_offsets(At at, Connection& connection, TopicPartition partition);
  void offset_listed(At at, TopicId topic, const Answer& answer);
  void apply_listed(At at, TopicId topic, std::int64_t offset);
  void scan(At at, Connection& connection, TopicPartition partition);
  void scanned(At at, TopicPartition partition, const Answer& answer);
  // Begins anew: what was found is not there any more.
  void begin_again(At at, const Error& reason);
  // In the batches that came: the first record from operation.found on that is as young as
  // operation.position says.
  struct Search {
    std::optional<std::int64_t> record;
    std::int64_t next = 0;  // behind the batches
  };
  Result<Search> find_record(const Operation& operation, TopicPartition partition,
                             const SharedBytes& batches) const;
  void retry(At at, const Error& error);
  void finish(At at, Result<ResolvedOffset> result);

  Executor& executor_;
  BrokerPool& pool_;
  ClusterMetadata& metadata_;
  std::shared_ptr<BufferPool> buffers_;
  const Options options_;
  Backoff backoff_;
  std::list<Operation> operations_;
};

}  // namespace tidelog::client_core
