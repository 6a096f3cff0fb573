// Partitions that a command names, and what offset expressions mean in them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tidelog/tidelog.h"
#include "tools/messages.h"
#include "tools/offset_expression.h"

namespace tidelog::tools {

// The words of several -p options, each as parse_partitions() reads it: ascending, each once.
// Fails with kInvalidArgument.
Result<std::vector<std::int32_t>> parse_partition_words(const std::vector<std::string>& words);

struct ChosenPartitions {
  std::vector<client::PartitionDescription> partitions;  // ascending; offsets known
  // Of a chosen one, left out or not; a message told of it. Damage that readers found is told, but
  // does not count: it matters only to who comes to it.
  bool has_problems = false;
};

// The partitions of `topic` that are `wanted` (none: all). Where one has a problem, a message tells
// of it; it stays as long as its offsets are known, since what is sound of it can be read. nullopt
// after a message that names one that does not exist.
std::optional<ChosenPartitions> choose_partitions(const client::TopicDescription& topic,
                                                  std::span<const std::int32_t> wanted,
                                                  Messages& messages);

// The offset that `bound` means in `partition` now. Distances end at the partition's start and end;
// a time behind the newest record is the end; a plain offset is not checked. Asks the brokers for
// times only.
client::Result<std::int64_t> resolve_bound(client::Consumer& consumer, const std::string& topic,
                                           const client::PartitionDescription& partition,
                                           const OffsetBound& bound);

}  // namespace tidelog::tools
