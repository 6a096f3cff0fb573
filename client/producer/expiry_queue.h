// Partitions in the order in which their records come to the end of their delivery timeout, so that
// who looks for those that did looks at no others, however many there are.
//
// A partition stands here once at most, under a time that is no later than when its oldest waiting
// record was accepted. It may be earlier: nobody tells of records that are sent meanwhile. Whoever
// is due by that is looked at and put back.
//
// Thread: its owner's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/clock.h"
#include "client/producer/batch.h"

namespace tidelog::client_core {

class ExpiryQueue {
 public:
  // `partition`, which must outlive this, has a record that was accepted at `since`, and waits.
  void add(PartitionQueue& partition, SteadyTime since);
  // Takes the first partition out if it may have records accepted at `too_old` or before; null:
  // none has.
  PartitionQueue* take(SteadyTime too_old);
  // No record of any partition was accepted before.
  std::optional<SteadyTime> earliest() const;
  // How many were taken so far.
  std::uint64_t taken() const { return taken_; }

 private:
  std::map<ExpiryPlace, PartitionQueue*> places_;
  std::uint64_t next_serial_ = 1;
  std::uint64_t taken_ = 0;
};

}  // namespace tidelog::client_core
