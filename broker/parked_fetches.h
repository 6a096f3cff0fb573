// The owner's half of fetch sessions: on each shard, the positions that sessions of any shard have
// in the partitions this shard owns, and which of them have news.
//
// A session (broker/session.h, on its connection's shard) arms its reader here with a number of
// bytes. An armed reader that has news delivers once, as much as it was armed for, and is disarmed;
// without news it stays armed, parked, until a high watermark advances. All that advances in one
// loop turn wakes its readers once, at the turn's end. Partitions with news stand in a queue and go
// to its end when read, so that none starves.
//
// A position that met an error is dropped when the error is delivered; the session names it again
// if it wants to go on.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/fetch_news.h"
#include "broker/fetch_position.h"
#include "broker/partition_hash.h"
#include "log/partition_log.h"

namespace tidelog::broker {

class Shard;
struct Partition;

// Thread: the shard's.
class ParkedFetches {
 public:
  explicit ParkedFetches(Shard& shard);
  ~ParkedFetches();

  // Names a session and the shard that its deliveries go to.
  struct SessionKey {
    std::uint64_t session = 0;
    std::size_t home = 0;
  };

  // Adds or moves positions; makes the session's reader where there is none.
  void change(const SessionKey& key, std::vector<FetchTarget> targets);
  void forget(std::uint64_t session, const std::vector<TopicPartition>& partitions);
  void close(std::uint64_t session);

  // Lets the session's reader deliver up to `bytes` once (at least one batch). With `reply` it
  // delivers even without news, as soon as no read is in flight. Calling it again while armed only
  // adds `reply`.
  void arm(std::uint64_t session, std::size_t bytes, bool reply);
  // No fetch is open any more: nothing is delivered until the next arm().
  void disarm(std::uint64_t session);
  // Nobody has fetched for a while: what was read of the disk meanwhile gives its memory back, and
  // is read again when it is asked for. REQUIRES: disarm() came after the last arm().
  void take_back(std::uint64_t session);

  // The partition's high watermark advanced or its replica stopped. Readers are woken by
  // end_of_turn().
  void advanced(Partition& partition);
  // The partition goes: every position in it gets `error`. The partition is not used afterwards.
  void gone(Partition& partition, const Error& error);
  // The fetch budget has room again.
  void budget_freed();

  void end_of_turn();
  // Whether end_of_turn() has something to do.
  bool has_turn_work() const { return !advanced_.empty(); }

  // Sessions with a reader here.
  std::size_t readers() const { return readers_.size(); }

 private:
  struct Reader;
  // Reads what is ready and delivers it, if the reader is armed.
  void collect(Reader& reader);
  // Reads from the position at the front of the ready queue. False: nothing more can be read now.
  bool read_front(Reader& reader, std::size_t credit, std::vector<FetchChunk>& chunks);
  void start_cold_read(Reader& reader, FetchPosition& position, const log::ReadLimits& limits);
  void finish_cold_read(std::uint64_t session, const FetchTarget& target, BudgetHold hold,
                        Result<log::ReadResult> result);
  FetchChunk read_chunk(FetchPosition& position, log::ReadResult result, BudgetHold hold);
  void remove(Reader& reader, FetchPosition& position);
  // Takes many positions out of the ready queue at once: looking for each of them would take the
  // square of their number. First unready() of each, then drop_unready().
  static void unready(Reader& reader, const TopicPartition& id);
  static void drop_unready(Reader& reader);
  static void drop_finished(Reader& reader, const PartitionSet& partitions);

  Shard& shard_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Reader>> readers_;
  std::vector<Partition*> advanced_;
  std::vector<std::uint64_t> starved_;  // sessions whose readers wait for the fetch budget
};

}  // namespace tidelog::broker
