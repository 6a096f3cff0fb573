// One fetch session with one shard of a broker: which of its partitions the broker knows to be
// read, from where, and which fetches are open in it.
//
// A session lives on one connection. What changes (a partition that joins, leaves or is sought) is
// told by the next fetch. Fetches are numbered, so that an answer can be told from one to a
// position that was left. Thread: the fetcher's executor.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "client/consumer/prefetch_queue.h"
#include "client/messages.h"

namespace tidelog::client_core {

// One assigned partition, as the fetcher reads it.
struct Reading {
  std::string topic_name;
  PartitionIndex partition;
  TopicId topic;
  std::shared_ptr<ReadCursor> cursor;
  std::uint64_t generation = 0;
  std::int64_t next = 0;       // offset of the next record to fetch
  LeaderEpoch last_epoch{-1};  // of the record before, once one was read
  LeaderEpoch leader_epoch{-1};
  bool stopped = false;           // by an error, until it is sought
  bool paused = false;            // by the program, until it is resumed
  std::optional<BrokerShard> at;  // whose session it is in, or will be
  bool end_asked = false;         // the leader is being asked for the high watermark
  bool unsent = false;            // the session does not know `next` yet
  std::uint64_t set_by = 0;       // number of the fetch that told it; earlier ones may be of before
  SteadyTime not_before{};
  std::uint64_t metadata_after = 0;
  int refusals = 0;  // in a row
  int gaps = 0;      // in a row

  TopicPartition id() const { return {topic, partition}; }
  // "topic 'events' partition 0", for messages.
  std::string place() const;
  // True when fetch `number` may have been sent before the session was told of `next`.
  bool is_stale(std::uint64_t number) const { return unsent || number < set_by; }
};

class FetchSession {
 public:
  explicit FetchSession(BrokerShard shard) : shard_(shard) {}

  BrokerShard shard() const { return shard_; }
  bool has_readings() const { return !readings_.empty(); }
  // The partition is read here from now on. `reading` must outlive its stay.
  void join(Reading& reading);
  void leave(Reading& reading);
  // Null: the partition is not read here (any more).
  Reading* find(const TopicPartition& partition) const;
  std::vector<Reading*> readings() const;

  // Of the connection it lives on; 0: none yet.
  std::uint64_t serial() const { return serial_; }
  // Begins anew where the connection is another than before.
  void use_connection(std::uint64_t serial);
  // Begins anew: all must be told again, and open fetches are of no interest any more.
  void reset();

  // True when one more fetch is of use now.
  bool wants_fetch() const;
  // The next fetch with all there is to tell; its limits are still to be set. It counts as open
  // until ended().
  FetchRequest begin_fetch(std::size_t partition_bytes_max);
  // As the broker named it; 0: it is not open yet, and the first fetch only opens it.
  std::uint64_t id() const { return session_; }

  // What names an open fetch.
  struct Ticket {
    std::uint64_t epoch = 0;   // of the session
    std::uint64_t number = 0;  // within it
  };
  // Of the fetch begun last.
  Ticket ticket() const { return {epoch_, next_number_ - 1}; }
  // The fetch begun last has this id on its connection.
  void sent(std::uint64_t call) { open_.back().call = call; }
  // The call to cancel so that what changed can be told: its oldest open fetch. Nullopt: nothing
  // waits to be told, or it waits for a fetch that was cancelled already.
  std::optional<std::uint64_t> cancel_oldest();
  // An open fetch was answered, or failed. False: it was of a session that is gone.
  bool ended(const Ticket& ticket);
  // The broker named the session.
  void opened(std::uint64_t session) { session_ = session; }

  SteadyTime not_before{};  // of the next fetch
  int failures = 0;         // of whole fetches, in a row

  // Open at once, so that one is under way while another is answered.
  static constexpr std::size_t kOpenFetches = 2;

 private:
  struct OpenFetch {
    std::uint64_t number;
    std::uint64_t call;
    bool cancelled;
  };
  bool has_changes() const;

  const BrokerShard shard_;
  std::uint64_t serial_ = 0;       // of the connection it lives on
  std::uint64_t session_ = 0;      // 0: not open
  std::uint64_t epoch_ = 0;        // answers of earlier ones are stale
  std::uint64_t next_number_ = 1;  // of fetches
  std::deque<OpenFetch> open_;
  std::map<TopicPartition, Reading*> readings_;
  std::set<TopicPartition> forgotten_;  // left, and not yet told
};

}  // namespace tidelog::client_core
