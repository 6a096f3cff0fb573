// Batches of idempotent producers, as they send them and as a log holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "wire/batch_builder.h"

namespace tidelog::log {

using ProducerIdentity = wire::BatchBuilder::Identity;

// A batch of `records` records, each of `value`.
std::vector<std::byte> produced_batch(const TopicPartition& id, const ProducerIdentity& identity,
                                      int records = 1, const std::string& value = "v");
// The same with the stamp of a leader.
std::vector<std::byte> stamped_batch(const TopicPartition& id, const ProducerIdentity& identity,
                                     Offset base, int records = 1, std::int64_t append_time_us = 0);

}  // namespace tidelog::log
