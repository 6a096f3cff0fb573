// What a scripted log knows of idempotent producers: told from PROTOCOL.md alone, so that the
// client is not tested against the code that it meets in a real broker.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "wire/record_batch.h"

namespace tidelog::sim {

class ScriptedProducers {
 public:
  // The offset of a batch that is there already; nullopt: it may be appended.
  Result<std::optional<Offset>> check(const wire::BatchView& batch) const {
    const auto found = known_.find(batch.producer_id());
    const std::int32_t sequence = batch.base_sequence();
    if (found == known_.end()) {
      if (sequence == 0) return std::nullopt;
      return fail(ErrorCode::kUnknownProducer, "never heard of it");
    }
    const Producer& producer = found->second;
    if (batch.producer_epoch() < producer.epoch) return fail(ErrorCode::kFencedProducer, "old");
    if (batch.producer_epoch() > producer.epoch) {
      if (sequence == 0) return std::nullopt;
      return fail(ErrorCode::kOutOfOrderSequence, "a new epoch begins with 0");
    }
    // Every record by its number.
    const auto at = static_cast<std::size_t>(sequence);
    if (at == producer.offsets.size()) return std::nullopt;
    if (at > producer.offsets.size()) return fail(ErrorCode::kOutOfOrderSequence, "a gap");
    if (at + static_cast<std::size_t>(batch.record_count()) > producer.offsets.size()) {
      return fail(ErrorCode::kOutOfOrderSequence, "half of it is new");
    }
    return producer.offsets[at];
  }

  void apply(const wire::BatchView& batch, Offset base) {
    if (batch.producer_id().value() < 0) return;
    Producer& producer = known_[batch.producer_id()];
    if (batch.producer_epoch() > producer.epoch) producer.offsets.clear();
    producer.epoch = batch.producer_epoch();
    for (std::int32_t i = 0; i < batch.record_count(); ++i) producer.offsets.push_back(base + i);
  }

  // As if all of them had been silent for too long.
  void forget_all() { known_.clear(); }

 private:
  struct Producer {
    std::int16_t epoch = -1;
    std::vector<Offset> offsets;  // of its records in this epoch
  };
  std::map<ProducerId, Producer> known_;
};

}  // namespace tidelog::sim
