// Walks a segment file write by write. A write is whole when its header and each of its batches
// verify; it is whole or not there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "log/batch_walk.h"
#include "log/file_window.h"
#include "log/write_header.h"

namespace tidelog::log {

// Where a scan stands: what the next write must continue.
struct SegmentCursor {
  std::uint64_t position = io::kBlockBytes;
  std::uint64_t sequence = 0;  // of the last write
  BatchPlace place;
};

// Blocks that cannot be read are unsound.
class SegmentScanner {
 public:
  // Batches below `records_from` are trusted to have sound records (they lay below a recovery
  // point).
  SegmentScanner(io::File& file, std::uint64_t size, std::uint64_t file_id,
                 const TopicPartition& id, Offset records_from);

  struct Step {
    bool whole = false;
    std::string problem;                // why not; empty where nothing was written
    std::optional<WriteHeader> header;  // whenever the header itself is sound
  };
  // Checks the write at `cursor`; a whole one is visited batch by batch and moves the cursor behind
  // it. Fails with kStorageFailed.
  Result<Step> step(SegmentCursor& cursor, const BatchVisitor& visit);

  // The next sound write header of this file at or behind `position`, at any block. Fails with
  // kStorageFailed.
  Result<std::optional<WriteHeader>> find_header(std::uint64_t position);
  // Whether anything but zeros stands at or behind `position`. Fails with kStorageFailed.
  Result<bool> written_from(std::uint64_t position);

 private:
  std::optional<WriteHeader> header_at(std::span<const std::byte> bytes,
                                       std::uint64_t position) const;

  FileWindow window_;
  std::uint64_t file_id_;
  std::uint64_t seed_;
  Offset records_from_;
};

}  // namespace tidelog::log
