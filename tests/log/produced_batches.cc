#include "tests/log/produced_batches.h"

#include "wire/record_batch.h"

namespace tidelog::log {

std::vector<std::byte> produced_batch(const TopicPartition& id, const ProducerIdentity& identity,
                                      int records, const std::string& value) {
  wire::BatchBuilder builder;
  BufferPool pool(0);
  wire::RecordView record;
  record.value = value;
  for (int i = 0; i < records; ++i) builder.add(1000, record);
  const auto batch = builder.finish(wire::Codec::kNone, wire::batch_seed(id), identity, pool);
  return {batch->bytes().begin(), batch->bytes().end()};
}

std::vector<std::byte> stamped_batch(const TopicPartition& id, const ProducerIdentity& identity,
                                     Offset base, int records, std::int64_t append_time_us) {
  auto batch = produced_batch(id, identity, records);
  wire::stamp_batch(batch,
                    {.base_offset = base,
                     .leader_epoch = LeaderEpoch(1),
                     .append_time_us = append_time_us,
                     .log_append_time_ms = std::nullopt},
                    wire::batch_seed(id));
  return batch;
}

}  // namespace tidelog::log
