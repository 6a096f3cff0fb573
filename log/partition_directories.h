// The directories of partitions, as file threads of several shards make and remove them side by
// side: partitions of one topic share the topic's directory, whatever shard they live on.
#pragma once

#include <mutex>
#include <span>
#include <stop_token>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/data_directory.h"
#include "log/io/file_system.h"

namespace tidelog::log {

// Thread: any; calls block.
class PartitionDirectories {
 public:
  PartitionDirectories(io::FileSystem& files, DataPaths paths)
      : files_(files), paths_(std::move(paths)) {}

  // Makes what is missing; stable on return. Fails with kStorageFull, kStorageFailed.
  Result<> make(std::span<const TopicPartition> ids);
  // Removes a log's directory with all that is in it, and the topic's with its last partition;
  // stable after settle(). Nothing happens when it is not there. Stops before the first file, or
  // between two, when `stop` is requested. Fails with kDraining (stopped), kStorageFailed.
  Result<> remove(const TopicPartition& id, const std::stop_token& stop = {});
  // The removals of `ids` are stable on return, and the directories of topics without partitions
  // gone: one sync for each of their topics that is still there, and one for all. Fails with
  // kStorageFailed.
  Result<> settle(std::span<const TopicPartition> ids);
  // All there are, in catalogs or not; other names are passed over. Fails with kStorageFailed.
  Result<std::vector<TopicPartition>> list() const;

 private:
  io::FileSystem& files_;
  const DataPaths paths_;
  // Held while a topic's directory is made or removed; not while files go, which may take long.
  std::mutex topics_;
};

}  // namespace tidelog::log
