// What producers were told and what consumers saw, and whether both can be true of one log.
//
// A history is a sequence of events; record by record the checker learns which value lies at which
// offset, from acknowledgements and from polls alike, and complains where that cannot be. It knows
// nothing of brokers, disks or clocks, so simulated and real clusters feed the same checker: C++
// tests by these calls, programs by lines of JSON (history_lines.h).
//
// A value names its record: no two records of a history share one. A partition is a name; one that
// was deleted and made again is another one.
//
// What it finds:
//   lost write            acknowledged, and a reader read on past its offset, or came to the end
//                         below it, without seeing it
//   unseen record         acknowledged, and nobody read as far
//   duplicate             one record at two places
//   inconsistent offsets  two records at one place
//   aborted read          seen or acknowledged, though its producer was told that it failed, or
//                         though it was cut off
//   never sent            seen, though nobody sent it: altered, or invented
//   non-monotonic poll    a consumer went back, though nobody moved it
//   skipped poll          a consumer went on past a record that others saw
//   non-monotonic send    records of one producer lie in another order than they were sent
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace tidelog::history {

enum class Anomaly : std::uint8_t {
  kLostWrite,
  kUnseenRecord,
  kDuplicate,
  kInconsistentOffsets,
  kAbortedRead,
  kNeverSent,
  kNonMonotonicPoll,
  kSkippedPoll,
  kNonMonotonicSend,
};
// "lost write"
std::string_view to_string(Anomaly anomaly);

struct Complaint {
  Anomaly anomaly;
  std::string partition;
  std::int64_t offset = 0;
  std::string what;  // a sentence that names records, places and consumers

  // "lost write: ..."
  std::string to_string() const;
};

// Thread: one.
class Checker {
 public:
  // --- What a producer does and hears. A record about which it hears nothing may be there or not.
  // Its order among the producer's records is that of these calls. Once it failed or was cut off, a
  // record may be sent again. Fails with kInvalidArgument: it was sent before.
  Result<> send(const std::string& producer, const std::string& value);
  // Fails with kInvalidArgument: nobody sent it.
  Result<> acknowledged(const std::string& partition, std::int64_t offset,
                        const std::string& value);
  // It is not in the log, and never will be. Fails with kInvalidArgument: nobody sent it.
  Result<> failed(const std::string& value);

  // --- What a consumer sees.
  // It reads on from `position`: it was started there, moved there, or told that its own position
  // is not there any more.
  void assign(const std::string& consumer, const std::string& partition, std::int64_t position);
  // It was given this record. One that was never assigned begins with its first record.
  void polled(const std::string& consumer, const std::string& partition, std::int64_t offset,
              const std::string& value);
  // A reader saw that the log ends at `end`: everything acknowledged by now lies below.
  void ended(const std::string& partition, std::int64_t end);

  // --- What a log is allowed to lose.
  // Records below `offset` may go from now on: retention, deletion.
  void may_trim(const std::string& partition, std::int64_t offset);
  // Records from `offset` on may go from now on: a truncation began.
  void may_cut(const std::string& partition, std::int64_t offset);
  // They are gone and must not come back; consumers that were further go on at `offset`.
  void cut(const std::string& partition, std::int64_t offset);

  // Everything that is wrong with the history as far as it was told: what showed at an event, in
  // that order, then what only the end shows.
  std::vector<Complaint> complaints() const;
  // Whether an event has shown anything yet: cheap.
  bool clean() const { return found_.empty(); }

  std::size_t records() const { return records_.size(); }

 private:
  using RecordId = std::size_t;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  struct Record {
    std::string value;
    std::size_t producer = kNone;
    std::uint64_t order = 0;  // among the sends of all producers
    bool sent = false;
    bool gone = false;  // failed, or cut off
    std::string partition;
    std::int64_t offset = -1;  // where it lies; -1: not known
  };
  struct Place {
    RecordId record = kNone;
    bool acknowledged = false;
    bool seen = false;
    bool required = true;  // nothing allowed it to go
  };
  struct Gap {
    std::string consumer;
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  struct Partition {
    std::map<std::int64_t, Place> places;
    std::map<std::int64_t, std::int64_t> read;  // ranges that somebody read over, apart
    std::map<std::string, std::int64_t> positions;
    std::vector<Gap> gaps;
    std::int64_t trimmed = 0;  // below it nothing is required
  };

  Record& record_of(const std::string& value);
  // Enters that `value` lies there; null where it cannot be.
  Place* place(const std::string& partition, std::int64_t offset, const std::string& value);
  static void cover(Partition& partition, std::int64_t begin, std::int64_t end);
  static bool covered(const Partition& partition, std::int64_t offset);
  void complain(Anomaly anomaly, const std::string& partition, std::int64_t offset,
                std::string what);
  void add_missing(const std::string& name, const Partition& partition,
                   std::vector<Complaint>& to) const;
  void add_skipped(const std::string& name, const Partition& partition,
                   std::vector<Complaint>& to) const;
  void add_disorder(const std::string& name, const Partition& partition,
                    std::vector<Complaint>& to) const;

  std::vector<std::string> producers_;
  std::unordered_map<std::string, std::size_t> producer_ids_;
  std::vector<Record> records_;
  std::unordered_map<std::string, RecordId> record_ids_;
  std::map<std::string, Partition> partitions_;
  std::uint64_t sends_ = 0;
  std::vector<Complaint> found_;
};

}  // namespace tidelog::history
