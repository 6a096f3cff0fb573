#include "tools/topic_positions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "tools/partition_list.h"

namespace tidelog::tools {
namespace {

bool are_offsets_known(const client::PartitionDescription& partition) {
  return partition.problem.empty() ||
         (partition.start_offset >= 0 && partition.high_watermark >= partition.start_offset);
}

// Batches that readers found damaged: whoever comes to them is told so there.
bool is_damage_that_readers_meet(const client::PartitionDescription& partition) {
  const std::string name(Error(ErrorCode::kCorruptData, "").info().name);
  return partition.problem.starts_with(name + ":");
}

}  // namespace

Result<std::vector<std::int32_t>> parse_partition_words(const std::vector<std::string>& words) {
  if (words.empty()) return std::vector<std::int32_t>();
  return parse_partitions(fmt::format("{}", fmt::join(words, ",")));
}

std::optional<ChosenPartitions> choose_partitions(const client::TopicDescription& topic,
                                                  std::span<const std::int32_t> wanted,
                                                  Messages& messages) {
  ChosenPartitions found{.partitions = topic.partitions};
  std::vector<client::PartitionDescription>& chosen = found.partitions;
  std::ranges::sort(chosen, {}, &client::PartitionDescription::partition);
  for (const std::int32_t one : wanted) {
    if (std::ranges::binary_search(chosen, one, {}, &client::PartitionDescription::partition)) {
      continue;
    }
    messages.failure(
        fmt::format("tidelog: topic '{}' has no partition {}; it has {}, numbered from 0",
                    topic.name, one, topic.partitions.size()));
    return std::nullopt;
  }
  if (!wanted.empty()) {
    std::erase_if(chosen, [wanted](const auto& partition) {
      return !std::ranges::binary_search(wanted, partition.partition);
    });
  }
  for (const client::PartitionDescription& partition : chosen) {
    if (partition.problem.empty()) continue;
    const std::string text = fmt::format(
        "partition {} of topic '{}' {}: {}", partition.partition, topic.name,
        are_offsets_known(partition) ? "has a problem" : "cannot be read now", partition.problem);
    if (are_offsets_known(partition) && is_damage_that_readers_meet(partition)) {
      messages.note(text);
      continue;
    }
    found.has_problems = true;
    messages.failure("tidelog: " + text);
  }
  // An unknown end must not pass for an empty partition.
  std::erase_if(chosen, [](const auto& partition) { return !are_offsets_known(partition); });
  return found;
}

client::Result<std::int64_t> resolve_bound(client::Consumer& consumer, const std::string& topic,
                                           const client::PartitionDescription& partition,
                                           const OffsetBound& bound) {
  const std::int64_t start = partition.start_offset;
  const std::int64_t end = partition.high_watermark;
  switch (bound.kind) {
    case OffsetBound::Kind::kOffset:
      return bound.value;
    case OffsetBound::Kind::kStart:
      return bound.value < end - start ? start + bound.value : end;
    case OffsetBound::Kind::kEnd:
      return bound.value < end - start ? end - bound.value : start;
    case OffsetBound::Kind::kTime:
      break;
  }
  const auto found =
      consumer.resolve(topic, partition.partition, client::Position::time(bound.value));
  if (!found) return found.error();
  return found->value_or(end);
}

}  // namespace tidelog::tools
