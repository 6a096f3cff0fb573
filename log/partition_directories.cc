#include "log/partition_directories.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string>

#include "log/file_removal.h"
#include "log/rules.h"

namespace tidelog::log {

Result<> PartitionDirectories::make(std::span<const TopicPartition> ids) {
  const std::lock_guard lock(topics_);
  std::set<TopicId> topics;
  for (const TopicPartition& id : ids) {
    TIDELOG_TRY(files_.make_directories(paths_.partition(id)));
    topics.insert(id.topic);
  }
  if (broken(Rule::kDirectoryIsNamed)) return {};
  for (const TopicId& topic : topics) TIDELOG_TRY(files_.sync_directory(paths_.topic(topic)));
  return files_.sync_directory(paths_.root);
}

Result<> PartitionDirectories::remove(const TopicPartition& id, const std::stop_token& stop) {
  const auto stopped = [&] {
    return fail(ErrorCode::kDraining,
                fmt::format("the broker is stopping; the next start removes what is left of {}",
                            id.to_string()));
  };
  if (stop.stop_requested()) return stopped();
  const std::string directory = paths_.partition(id);
  TIDELOG_ASSIGN(const bool exists, files_.exists(directory));
  if (exists) {
    TIDELOG_ASSIGN(auto entries, files_.list(directory));
    std::ranges::reverse(entries);  // newest first: what a crash leaves is a log without its end
    for (const io::DirectoryEntry& entry : entries) {
      if (stop.stop_requested()) return stopped();
      TIDELOG_TRY(remove_in_steps(files_, directory + "/" + entry.name));
    }
    TIDELOG_TRY(files_.remove_directory(directory));
  }
  return {};
}

Result<> PartitionDirectories::settle(std::span<const TopicPartition> ids) {
  std::set<TopicId> topics;
  for (const TopicPartition& id : ids) topics.insert(id.topic);
  const std::lock_guard lock(topics_);
  for (const TopicId& topic : topics) {
    const std::string path = paths_.topic(topic);
    TIDELOG_ASSIGN(const bool exists, files_.exists(path));
    if (!exists) continue;
    // Once for all of them: a topic's directory may have thousands of names.
    TIDELOG_ASSIGN(const auto others, files_.list(path));
    TIDELOG_TRY(others.empty() ? files_.remove_directory(path) : files_.sync_directory(path));
  }
  return files_.sync_directory(paths_.root);
}

Result<std::vector<TopicPartition>> PartitionDirectories::list() const {
  std::vector<TopicPartition> found;
  TIDELOG_ASSIGN(const auto topics, files_.list(paths_.root));
  for (const io::DirectoryEntry& topic : topics) {
    const auto topic_id = TopicId::parse(topic.name);
    if (!topic.is_directory || !topic_id) continue;
    TIDELOG_ASSIGN(const auto partitions, files_.list(paths_.topic(*topic_id)));
    for (const io::DirectoryEntry& partition : partitions) {
      std::int32_t number = -1;
      const char* end = partition.name.data() + partition.name.size();
      std::from_chars(partition.name.data(), end, number);
      // "07" and "7.old" are no partitions, neither is a file.
      if (!partition.is_directory || number < 0 || partition.name != std::to_string(number)) {
        continue;
      }
      found.push_back({*topic_id, PartitionIndex(number)});
    }
  }
  return found;
}

}  // namespace tidelog::log
