// The numbers that an idempotent producer gives to the batches of one partition, so that the broker
// takes each once and in order (PROTOCOL.md, "Sending again").
#pragma once

#include <cstdint>
#include <optional>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "base/result.h"
#include "wire/batch_builder.h"

namespace tidelog::client_core {

using BatchNumbers = wire::BatchBuilder::Identity;

// `numbers` of what follows `records` records.
BatchNumbers behind(const BatchNumbers& numbers, std::size_t records);
// A copy of an encoded batch with these numbers, for the partition of `seed`. REQUIRES: `encoded`
// is a whole batch.
SharedBytes renumber(const SharedBytes& encoded, const BatchNumbers& numbers, std::uint64_t seed,
                     BufferPool& buffers);

// Where one partition stands in its numbering.
class PartitionSequence {
 public:
  // False: begin() comes first.
  bool begun() const { return next_.producer_id.value() >= 0; }
  // Counts from 0, as a producer that the partition never heard of.
  void begin(ProducerId id) {
    next_ = {.producer_id = id, .producer_epoch = 0, .base_sequence = 0};
    in_doubt_ = false;
  }
  // Another topic is behind the name: nothing of its log was numbered yet.
  void follow(const TopicId& topic);

  ProducerId id() const { return next_.producer_id; }
  // Whether `numbers` are of the present epoch.
  bool holds(const BatchNumbers& numbers) const {
    return numbers.producer_id == next_.producer_id &&
           numbers.producer_epoch == next_.producer_epoch;
  }
  // The numbers of the next batch, which has `records` records.
  BatchNumbers take(std::size_t records);

  // A batch with these numbers was given up, and a copy of it may still come to be stored, after
  // which those behind it would fit too.
  void doubt(const BatchNumbers& numbers) { in_doubt_ |= holds(numbers); }
  bool in_doubt() const { return in_doubt_; }

  // Begins the next epoch. False: they are used up, another id is needed, and begun() is false.
  bool begin_epoch();

 private:
  BatchNumbers next_;
  std::optional<TopicId> topic_;
  bool in_doubt_ = false;
};

}  // namespace tidelog::client_core
