// Fetch sessions: what a consumer reads, kept by the broker, so that each further fetch names only
// changes.
//
// A session lives with its connection. The positions themselves are kept by the shards that own the
// partitions (broker/parked_fetches.h); here are the fetches that are open and the news that has
// been delivered and not yet answered. Several fetches may be open at once: they are answered in
// the order they came, so that what is read of one partition arrives in order.
//
// A partition that was answered with an error has left the session until the client names it again.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "broker/parked_fetches.h"
#include "broker/partition_hash.h"
#include "wire/limits.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace tidelog::broker {

class ClientConnection;
class RequestTicket;

// A fetch request, decoded.
struct FetchOrder {
  std::uint64_t session = 0;  // 0 opens one
  std::vector<FetchTarget> changed;
  std::vector<TopicPartition> forgotten;
  std::size_t min_bytes = 1;
  std::size_t bytes_max = 0;
  std::chrono::milliseconds max_wait{0};
  bool close_session = false;
};

// Encodes a fetch answer (handlers/fetch.cc). `chunks` are in the order of their raw bytes.
void write_fetch_answer(flatbuffers::FlatBufferBuilder& to, ClientConnection& peer,
                        std::uint64_t session, const std::vector<FetchChunk>& chunks);

// Thread: its connection's shard.
class FetchSession {
 public:
  // As many as one request can name.
  static constexpr std::size_t kPartitionsMax = wire::kPartitionsPerRequestMax;

  FetchSession(ClientConnection& connection, std::uint64_t id);
  ~FetchSession();
  FetchSession(const FetchSession&) = delete;
  FetchSession& operator=(const FetchSession&) = delete;

  std::uint64_t id() const { return id_; }
  // False when it was refused at once, and nothing of it remains.
  bool fetch(FetchOrder order, RequestTicket ticket);
  // News from shard `from`, which is disarmed now.
  void deliver(std::size_t from, std::vector<FetchChunk> chunks);
  // Answers what can be answered now: the peer took bytes, or time passed.
  void advance();
  // While the peer takes no answer: nothing is read for it until advance().
  void cannot_answer();
  // Answers every open fetch at once with what is there.
  void answer_all();
  // The open fetch with this correlation id waits no longer. False: there is none.
  bool cancel(std::uint64_t correlation);

 private:
  struct OpenFetch;
  struct PartitionState {
    std::uint32_t generation = 0;
    std::uint32_t bytes_max = 0;
  };
  // What one shard owes this session.
  struct Slice {
    std::size_t partitions = 0;
    bool has_reader = false;  // was told of partitions: its reader is to be closed
    bool armed = false;
    bool must_reply = false;
    std::uint64_t asked_for = 0;  // serial of the fetch it was last armed for
  };

  std::size_t partitions_with(const FetchOrder& order) const;
  // Takes memory for so many positions. Fails with kTooLarge, kOverloaded.
  Result<> make_room_for(std::size_t partitions);
  void apply(FetchOrder& order);
  void forget(const std::vector<TopicPartition>& partitions);
  void drop_news_of(const FetchOrder& order);
  void disarm();
  void disarm_slices();
  // News that no fetch asks for is not kept for long: it holds memory that others may need.
  void look_whether_paused();
  void take_back_news();
  bool satisfied(const OpenFetch& fetch) const;
  bool reply_pending() const;
  void pull(const OpenFetch& fetch);
  void answer_front();
  void expire(std::uint64_t serial);

  ClientConnection& connection_;
  const std::uint64_t id_;
  PartitionMap<PartitionState> partitions_;
  std::vector<BudgetHold> partition_holds_;
  std::size_t held_partitions_;
  std::vector<Slice> slices_;  // by shard
  std::deque<OpenFetch> open_;
  FetchNews news_;
  std::uint32_t last_generation_ = 0;
  std::uint64_t last_serial_ = 0;
  std::uint64_t deliveries_ = 0;
  std::size_t first_slice_ = 0;  // asked first; rotates
  bool advancing_ = false;
  SteadyTime answered_at_;  // when a fetch was answered, or was found that none can be
  TimerId pause_timer_ = 0;
};

// The sessions of one connection. Thread: its shard's.
class FetchSessions {
 public:
  // A client needs one, or one per group of topics; more is a mistake.
  static constexpr std::size_t kSessionsMax = 64;

  explicit FetchSessions(ClientConnection& connection);
  ~FetchSessions();

  void fetch(FetchOrder order, RequestTicket ticket);
  void can_answer();
  void cannot_answer();
  void answer_all();
  bool cancel(std::uint64_t correlation);
  void close_all() { sessions_.clear(); }

 private:
  ClientConnection& connection_;
  std::map<std::uint64_t, std::unique_ptr<FetchSession>> sessions_;
  std::uint64_t first_ = 0;  // was the first to answer; another one is, the next time
};

}  // namespace tidelog::broker
