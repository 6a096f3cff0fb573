// The consumer's core: reads the assigned partitions from their leaders, batch by verified batch,
// into the prefetch queue. A state machine on the executor, without threads, clocks or randomness
// of its own.
//
// One fetch session per shard of a broker, two fetches open in each, so that records are on their
// way while others are answered. What is fetched is taken only where it goes on at the offset
// expected; the position never jumps: a partition whose log does not go on there stops with an
// error until it is sought.
//
// Memory: batches queued and answers under way together stay within `prefetch_bytes_max`, apart
// from one batch per open fetch, since an answer holds at least one whole batch. Thread: the
// executor's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/broker_pool.h"
#include "client/cluster_metadata.h"
#include "client/consumer/fetch_session.h"
#include "client/consumer/offset_resolver.h"
#include "client/consumer/prefetch_queue.h"
#include "client/consumer/topic_follower.h"

namespace tidelog::client_core {

struct FetcherOptions {
  PoolOptions pool{};
  std::chrono::milliseconds request_timeout{30000};
  std::size_t prefetch_bytes_max = 32 * 1024 * 1024;
  std::size_t fetch_bytes_max = 4 * 1024 * 1024;
  std::size_t partition_fetch_bytes_max = 1024 * 1024;
  std::chrono::milliseconds fetch_wait{500};
  std::size_t uncompressed_batch_bytes_max = 64 * 1024 * 1024;
  std::chrono::milliseconds metadata_max_age = std::chrono::minutes(5);
};

class Fetcher {
 public:
  // All references must outlive this.
  Fetcher(wire::Network& network, Executor& executor, std::shared_ptr<BufferPool> buffers,
          PrefetchQueue& queue, FetcherOptions options, std::uint64_t seed);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  using Done = std::move_only_function<void(Result<>)>;
  // Resolves all positions, then replaces what is read; on failure everything stays as it was.
  void assign(std::vector<client::Assignment> assignments, Done done);
  void seek(const std::string& topic, std::int32_t partition, client::Position position, Done done);
  void resolve(const std::string& topic, std::int32_t partition, client::Position position,
               OffsetResolver::Callback done) {
    resolver_.resolve(topic, partition, position, std::move(done));
  }
  // Reads the topic's partitions from `first` on, too, once they are there, until the next
  // assign(). Fails with kInvalidArgument (no partition of it is assigned; a negative number).
  Result<> follow(const std::string& topic, std::int32_t first);
  // Neither fails where it is so already. Fail with kInvalidArgument (not assigned).
  Result<> pause(const std::string& topic, std::int32_t partition);
  Result<> resume(const std::string& topic, std::int32_t partition);
  // Null where it is not assigned.
  std::shared_ptr<ReadCursor> cursor(const std::string& topic, std::int32_t partition) const;

  // The same, for who wants to know the high watermark: asks the leader while no answer told it.
  std::shared_ptr<ReadCursor> watch_end(const std::string& topic, std::int32_t partition);

  // Sends what fetches it can; call when the queue drained.
  void pump();

  // Stops reading a partition at `position`, since poll() could not use what was fetched there.
  // False, and nothing happened: it was sought or left meanwhile.
  bool stop(const Fetched& fetched, std::int64_t position);

  // Ends everything.
  void shut_down();

 private:
  using Name = std::pair<std::string, std::int32_t>;

  void assign_resolved(const std::vector<client::Assignment>& assignments,
                       const std::vector<ResolvedOffset>& positions);
  // The one that is there, or a new one, which is to be restarted.
  Reading& reading_of(const std::string& topic, std::int32_t partition);
  Result<Reading*> assigned(const Name& name) const;
  void restart(Reading& reading, const ResolvedOffset& position);

  void place_readings(SteadyTime now);
  // Finds the partition's leader. False: it cannot be read now.
  bool place(Reading& reading, SteadyTime now);
  void leave_session(Reading& reading);
  void serve_sessions(SteadyTime now);
  void serve(FetchSession& session, SteadyTime now);
  // Begins anew; the broker forgets it, and answers at once what is open in it.
  void end(FetchSession& session);
  bool send_fetch(FetchSession& session, Connection& connection);

  void fetched(FetchSession& session, const FetchSession::Ticket& ticket,
               const std::expected<Answer, CallFailure>& answer);
  // `final`: an error that no retry helps against stops all that is read here.
  void fetch_failed(FetchSession& session, const Error& error, std::uint32_t throttle_ms,
                    bool final);
  // The wait behind so many failures in a row and one more.
  std::chrono::microseconds wait_after(int failures) const;
  void apply(FetchSession& session, std::uint64_t number, const FetchAnswer& answer,
             const SharedBytes& raw);
  void apply_error(Reading& reading, std::uint64_t number, const FetchResult& result);
  void apply_batches(Reading& reading, std::uint64_t number, const FetchResult& result,
                     const SharedBytes& batches, std::size_t answer_bytes);
  // `memory`: bytes to charge for it. False: nothing more of this answer concerns the partition.
  bool take_batch(Reading& reading, std::uint64_t number, const SharedBytes& batch,
                  std::size_t memory);
  void retry_later(Reading& reading);
  void stop_all(FetchSession& session, const Error& error);
  void stop_with(Reading& reading, const Error& error, std::optional<std::int64_t> resume_offset);
  std::size_t room() const;
  // What one fetch may reserve, so that every session can have its fetches open.
  std::size_t fair_bytes() const;
  void wake_at(SteadyTime at);
  void arm_timer(SteadyTime now);

  Executor& executor_;
  std::shared_ptr<BufferPool> buffers_;
  PrefetchQueue& queue_;
  const FetcherOptions options_;
  SeededRandom random_;
  std::map<Name, std::unique_ptr<Reading>> readings_;
  std::map<BrokerShard, FetchSession> sessions_;
  BrokerShard first_served_;        // another one is, the next time
  std::size_t reserved_bytes_ = 0;  // answers under way
  std::uint64_t answers_seen_ = 0;  // of the metadata, by place_readings()
  std::optional<SteadyTime> wake_at_;
  TimerId timer_ = 0;
  bool shut_down_ = false;
  // Last, so that connections and their callbacks go first.
  BrokerPool pool_;
  ClusterMetadata metadata_;
  OffsetResolver resolver_;
  TopicFollower follower_;
};

}  // namespace tidelog::client_core
