// Finds the producers of a log at an offset below its end, where the tables in memory are of no
// use: they are further.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/producer_state.h"
#include "log/segment_index.h"

namespace tidelog::log {

// A segment as it stood when the search began.
struct SegmentPlace {
  std::string path;
  std::string index_path;
  SegmentSummary summary;
};

// The producers behind the last write that begins below `end`: from the snapshot of the newest
// segment that ends at or below it and whose .idx is sound, then by the batch headers of what
// follows. `segments`: rising, of the whole log. REQUIRES: `end` is where a write begins or the
// log's end. Blocking. Fails with kStorageFailed.
Result<std::shared_ptr<ProducerTable>> producers_at(io::FileSystem& files, const TopicPartition& id,
                                                    const std::vector<SegmentPlace>& segments,
                                                    Offset end);

}  // namespace tidelog::log
