// Holds a segment's .idx against the batches of the segment: a start believes an index whose
// checksums are right, where the end, epochs and places of records come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/segment_index.h"
#include "wire/record_batch.h"

namespace tidelog::log {

// To be shown each whole write of a segment, from its first on.
class IndexCheck {
 public:
  // Reads the index at `path`, if a start would take it for one of the segment `file_id` from
  // `base` on, `size` bytes long. Any other is made anew by a start, and nothing is to be checked.
  // Blocking. Fails with kStorageFailed.
  static Result<IndexCheck> load(io::FileSystem& files, const std::string& path,
                                 std::uint64_t file_id, Offset base, std::uint64_t size);

  void batch(std::uint64_t position, const wire::BatchView& batch);
  // A write ended at `position`.
  void write_ended(std::uint64_t position, std::uint64_t sequence);
  // The writes end here. `covers_all`: so must the index, since the segment is sealed. What the
  // index says wrongly; nullopt: nothing.
  std::optional<std::string> finish(bool covers_all);

 private:
  explicit IndexCheck(Offset base) { seen_.base = seen_.end = base; }
  void differs(std::string what);
  // The newest timestamp of `entry`, whose batches end at `up_to`.
  void check_newest(const IndexEntry& entry, std::uint64_t up_to);

  std::optional<DecodedIndex> index_;
  SegmentSummary seen_;
  std::size_t next_entry_ = 0;
  bool compared_ = false;
  std::optional<std::string> problem_;
};

}  // namespace tidelog::log
