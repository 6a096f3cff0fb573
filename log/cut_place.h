// Where a log can be cut: segments are cut at the first block of a write, so the batches of that
// write that stay have to be kept elsewhere before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/segment_index.h"

namespace tidelog::log {

// Where a cut falls in the segments.
struct CutPlace {
  std::uint64_t position = 0;   // of the write that holds it
  std::uint64_t sequence = 0;   // of the write before
  Offset base;                  // of that write
  Offset end;                   // the batch boundary at or below the offset asked for
  std::vector<std::byte> head;  // the batches [base, end)
};

// Finds the write of the segment at `path` that holds `offset`. Blocking. Fails with kCorruptData
// (a write up to there is unsound), kStorageFailed.
Result<CutPlace> find_cut(io::FileSystem& files, const std::string& path, const TopicPartition& id,
                          const SegmentSummary& summary, Offset offset);

}  // namespace tidelog::log
