// The segment files of one log, as the shard sees them: what each holds, and the open handles.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/partition_log.h"
#include "log/producer_state.h"
#include "log/segment_format.h"
#include "log/segment_index.h"

namespace tidelog::log {

struct Segment {
  SegmentSummary summary;               // of what is stable in it
  std::shared_ptr<SegmentIndex> index;  // null until it is needed; always there for the active one
  std::shared_ptr<io::File> file;       // null until it is needed
  std::shared_ptr<ProducerTable> producers;  // behind `summary`'s end; of the active one only
  std::uint64_t file_bytes = 0;              // size of the file, space taken ahead included
  std::uint64_t index_saved_at = 0;          // bytes covered by the .idx on disk
  std::int64_t created_us = 0;               // when the file was made
  bool sealed = false;                       // another one follows it
  std::string path;

  std::string index_path() const { return path.substr(0, path.size() - 4) + ".idx"; }
  // Enters a batch that continues the segment at `position`. REQUIRES: index and producers are
  // there.
  void enter(const wire::BatchView& batch, std::uint64_t position, std::size_t index_interval);
};

// Thread: the shard's. Segments are shared with file jobs, which touch only what the shard leaves
// alone meanwhile.
class SegmentList {
 public:
  explicit SegmentList(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }
  bool empty() const { return segments_.empty(); }
  const std::vector<std::shared_ptr<Segment>>& all() const { return segments_; }
  // The newest, where destaged bytes go; null when there is none yet.
  std::shared_ptr<Segment> active() const { return segments_.empty() ? nullptr : segments_.back(); }
  // The one that holds `offset`; null in a hole or outside.
  std::shared_ptr<Segment> find(Offset offset) const;
  // REQUIRES: it begins at or behind the end of the last one.
  void add(std::shared_ptr<Segment> segment) {
    if (!segments_.empty()) segments_.back()->sealed = true;
    segments_.push_back(std::move(segment));
    segments_.back()->sealed = false;
  }
  void drop_last() {
    segments_.pop_back();
    if (!segments_.empty()) segments_.back()->sealed = false;
  }
  // REQUIRES: not empty().
  std::shared_ptr<Segment> drop_first();
  std::uint64_t bytes() const;

 private:
  std::string directory_;
  std::vector<std::shared_ptr<Segment>> segments_;  // rising
};

// --- Blocking jobs.

// Makes a new segment file that begins at `base`, with `space` bytes taken, stable together with
// its name. Replaces a file of that name that an earlier attempt left. Whoever adds it to a log
// gives it the producers of the one before. Fails with kStorageFull, kStorageFailed.
Result<std::shared_ptr<Segment>> create_segment(io::FileSystem& files, const std::string& directory,
                                                const TopicPartition& id, Offset base,
                                                std::int64_t now_us, std::uint64_t space);
// The same, but the caller has to make it stable, together with its name, before anything is
// written to it.
Result<std::shared_ptr<Segment>> create_unsynced_segment(io::FileSystem& files,
                                                         const std::string& directory,
                                                         const TopicPartition& id, Offset base,
                                                         std::int64_t now_us, std::uint64_t space);
// Opens the file if it is not open and loads the index if it is not loaded (a bad .idx is rebuilt
// from the segment). Returns what was missing. Fails with kNotFound, kCorruptData, kStorageFailed.
struct OpenedSegment {
  std::shared_ptr<io::File> file;
  std::shared_ptr<SegmentIndex> index;
};
Result<OpenedSegment> open_segment(io::FileSystem& files, const TopicPartition& id,
                                   const Segment& segment, std::size_t index_interval,
                                   bool writable);
// Cuts `file`, of `file_bytes`, to the `bytes` that it holds and syncs it: no space is left ahead.
// REQUIRES: it is open for writing, nothing in flight.
Result<> seal_segment(io::File& file, std::uint64_t file_bytes, std::uint64_t bytes);
// Writes the .idx with the producer snapshot, unsynced: both are built anew when a crash spoils
// them. REQUIRES: index and producers are there.
Result<> save_index(io::FileSystem& files, const Segment& segment);
// The same where nobody needs it now: only a failed disk is an error.
Result<> save_index_if_possible(io::FileSystem& files, const Segment& segment);

}  // namespace tidelog::log
