// A broker in memory for tests of the client: it speaks the real wire format over a SimNetwork,
// stores what it acknowledges, and misbehaves exactly where a test says.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "tests/sim/scripted_log.h"
#include "tests/sim/sim_executor.h"
#include "tests/sim/sim_network.h"
#include "wire/frame.h"
#include "wire/limits.h"

namespace tidelog::sim {

class ScriptedSession;

class ScriptedBroker {
 public:
  ScriptedBroker(SimExecutor& executor, SimNetwork& network, std::uint16_t port,
                 std::int32_t id = 1);
  ~ScriptedBroker();

  // Listens, or ends listener and connections; logs stay. Each start is a leader epoch.
  void start();
  void stop();

  TopicId create_topic(const std::string& name, std::int32_t partitions);
  void delete_topic(const std::string& name);
  void add_partitions(const std::string& name, std::int32_t total);
  ScriptedLog& log(const std::string& topic, std::int32_t partition);
  // Appends one batch of these values, as a producer would; times in ms, one a value, or now.
  void append(const std::string& topic, std::int32_t partition,
              const std::vector<std::string>& values, std::vector<std::int64_t> times = {},
              wire::Codec codec = wire::Codec::kNone);

  // What becomes of a batch that arrives: kOk stores and acknowledges it. Asked once a batch.
  struct Verdict {
    ErrorCode code = ErrorCode::kOk;
    bool store = false;   // with an error: as a broker that failed after the append
    bool silent = false;  // no answer
    bool cut = false;     // the connection ends instead of an answer
    bool late = false;    // the answer waits for the request's deadline
  };
  std::function<Verdict(const std::string& topic, std::int32_t partition)> on_produce;
  // What a fetch of this partition is answered with; kOk by its log.
  struct FetchVerdict {
    ErrorCode code = ErrorCode::kOk;
    std::int64_t diverging_offset = -1;
    std::int64_t sound_offset = -1;
  };
  std::function<FetchVerdict(const std::string& topic, std::int32_t partition)> on_fetch;
  // What a whole fetch is refused with; kOk: nothing.
  std::function<ErrorCode()> on_fetch_request;
  // What metadata says of a topic; kOk: the truth.
  std::function<ErrorCode(const std::string& topic)> on_metadata;

  // Says so on every connection: the broker is about to stop.
  void announce_draining();
  // Answers, on every connection, what nobody asked.
  void talk_nonsense();
  // Sends a notice with a reason, then ends every connection.
  void close_with_notice(const std::string& reason);

  struct Settings {
    std::uint32_t requests_in_flight_max = wire::kRequestsInFlightMax;
    std::size_t bytes_in_flight_max = wire::kBytesInFlightMax;
    std::uint32_t idle_timeout_ms = 600'000;
    std::uint8_t cluster = 42;               // stands for its id
    std::uint16_t advertised_port = 0;       // that metadata tells; 0: where it listens
    std::int32_t shards = 1;                 // partition i is served by shard i modulo this
    bool moves_connections = true;           // to the shard asked for
    std::size_t connections_max = SIZE_MAX;  // refused above
    int producer_ids_refused = 0;            // the next ones
    int metadata_unanswered = 0;             // the next ones
    std::uint32_t ping_throttle_ms = 0;
    std::int64_t append_time_us = -1;  // in answers to produce
    bool answers_one_way = false;      // produce requests with acks=none too
    std::uint32_t topic_batch_bytes_max = wire::kBatchBytesMax;  // may change at any time
  };
  Settings settings;

  // What was seen.
  struct Counts {
    int hellos = 0;
    int pings = 0;
    int metadata = 0;
    int produces = 0;
    int fetches = 0;
    int producer_ids = 0;
    int cancels = 0;
    int refused_connections = 0;
    int batches_elsewhere = 0;     // that came to another shard than their partition's
    int partitions_elsewhere = 0;  // that fetches named on another shard than theirs
  };
  Counts counts;
  // Open connections that said hello, by the shard that serves them.
  std::map<std::int32_t, int> connections() const;
  std::int32_t shard_of(std::int32_t partition) const { return partition % settings.shards; }
  std::size_t fetch_bytes_answered = 0;

 private:
  friend class ScriptedFetches;
  friend class ScriptedSession;
  struct Topic {
    TopicId id;
    std::vector<std::unique_ptr<ScriptedLog>> partitions;
  };

  const std::string* name_of(const TopicId& id) const;
  ScriptedLog* find(const TopicPartition& partition);
  void wake_fetches();

  SimExecutor& executor_;
  SimNetwork& network_;
  const std::uint16_t port_;
  const std::int32_t id_;
  BufferPool pool_{0};
  std::unique_ptr<wire::Listener> listener_;
  std::vector<std::shared_ptr<ScriptedSession>> sessions_;
  std::map<std::string, Topic> topics_;
  std::uint64_t next_topic_ = 1;
  std::int32_t leader_epoch_ = 0;
  std::int32_t next_shard_ = 0;  // where the next connection comes to
};

}  // namespace tidelog::sim
