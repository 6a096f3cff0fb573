// Finds the producers of a log at an offset below its end, where the tables in memory are of no
// use: they are further.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
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

// The producers behind the segments that retention took: what their last .idx, which stays when its
// segment goes, says of a log whose oldest segment begins at `base`. Nullopt where there is none,
// or none that is sound. Blocking. Fails with kStorageFailed.
Result<std::optional<ProducerTable>> producers_before(io::FileSystem& files,
                                                      const std::string& directory, Offset base);

struct FoundProducers {
  std::shared_ptr<ProducerTable> table = std::make_shared<ProducerTable>();
  bool whole = true;  // nothing that was looked at was unsound
};

// The producers behind the last write that begins below `end`: from the snapshot of the newest
// segment that ends at or below it and whose .idx is sound, or else of what retention took, then by
// the batch headers of what follows. `segments`: rising, of the whole log. REQUIRES: `end` is where
// a write begins or the log's end. Blocking. Fails with kStorageFailed.
Result<FoundProducers> producers_at(io::FileSystem& files, const TopicPartition& id,
                                    const std::vector<SegmentPlace>& segments, Offset end);

}  // namespace tidelog::log
