// What the segment files of one log hold, found by indexes where they are sound and by scanning
// where not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "log/io/file_system.h"
#include "log/partition_log.h"
#include "log/segment.h"

namespace tidelog::log {

struct SegmentSearch {
  io::FileSystem* files = nullptr;
  std::string directory;
  TopicPartition id;
  std::size_t index_interval = 0;
  // Files that hold nothing at or above it do not count.
  Offset log_start{0};
  // Records below were verified when they became stable.
  Offset recovery_point;
  // Writes that begin at or above it do not count: they were cut.
  std::optional<Offset> limit;
  // Ranges that a person accepted as lost: the log goes on behind each.
  std::vector<Hole> accepted = {};
  // After a clean stop: where the segments end. An index that says the same spares the scan.
  std::optional<Offset> clean_end;
};

struct FoundSegments {
  bool directory_exists = true;
  std::vector<std::shared_ptr<Segment>> segments;  // rising; all but the last are sealed
  // What lies behind the last one's end, in its file and in later ones.
  bool rest_written = false;       // something was written there
  std::optional<Offset> promised;  // the highest end a sound write header names, as durable
  std::vector<std::string>
      unfinished;           // paths of later files, newest first, that hold nothing that counts
  std::vector<Hole> holes;  // between segments
  std::vector<std::string> retired;  // paths of files below the log's start
  std::vector<std::string> problems;
};

// Blocking; changes nothing but indexes of sealed segments, which it writes where it had to build
// them. Fails with kStorageFailed.
Result<FoundSegments> find_segments(const SegmentSearch& search);

// Continues behind the end of the last segment with what is sound there, when the end was not the
// end: for a replica that lost acknowledged records and serves what is left. Adds holes.
Result<> find_beyond(const SegmentSearch& search, FoundSegments& found);

}  // namespace tidelog::log
