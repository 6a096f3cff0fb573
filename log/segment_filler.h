// Writes batches that a recovery took from the journal into the segments of their log, as the
// destager would have done. Blocking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer_pool.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/segment.h"

namespace tidelog::log {

class SegmentFiller {
 public:
  SegmentFiller(io::FileSystem& files, std::string directory, const TopicPartition& id,
                std::uint64_t segment_bytes, std::size_t index_interval, std::int64_t now_us)
      : files_(files),
        directory_(std::move(directory)),
        id_(id),
        segment_bytes_(segment_bytes),
        index_interval_(index_interval),
        now_us_(now_us) {}

  enum class Begin : std::uint8_t {
    kLastSegment,  // goes on in the last segment where there is one
    kNewSegment,   // leaves every segment that is there as it is
  };
  // Writes `batches`, rising and sound, behind `segments`, and adds the segments it makes; all of
  // it is stable on return. REQUIRES: for kLastSegment, the first batch continues the last segment,
  // whose file ends there or holds zeros. A file that stands where a new segment goes is renamed,
  // never removed: what is unsound in it may be all that is left. Fails with kStorageFull,
  // kStorageFailed.
  Result<> fill(std::vector<std::shared_ptr<Segment>>& segments,
                const std::vector<std::span<const std::byte>>& batches, Begin begin);
  // For many logs at once: makes the first segment that fill() with the same arguments needs, if it
  // needs one (true). Nothing of either call is stable before FileSystem::sync_all(), except that
  // a segment is complete and stable before the next one is made; that must be called between the
  // two where a segment was made: a header never reaches the disk behind what it heads.
  Result<bool> prepare(std::vector<std::shared_ptr<Segment>>& segments,
                       const std::vector<std::span<const std::byte>>& batches, Begin begin);
  // A sentence for each file that was renamed.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  // The batches that go into one write, and the bytes that it uses.
  struct Piece {
    std::size_t batches = 0;
    std::size_t bytes = 0;
  };
  static Piece first_piece(std::span<const std::span<const std::byte>> batches);
  // Whether a write of `bytes` from `base` on goes behind the last segment.
  bool fits(const std::vector<std::shared_ptr<Segment>>& segments, Offset base,
            std::size_t bytes) const;
  // Cuts it to its end, syncs it and saves its index.
  Result<> end_segment(Segment& last);
  using CreateSegment = decltype(&create_segment);
  Result<> begin_segment(std::vector<std::shared_ptr<Segment>>& segments, Offset base,
                         CreateSegment create);
  Result<> set_aside(Offset base);
  Result<> write(Segment& segment, std::span<const std::span<const std::byte>> batches);

  io::FileSystem& files_;
  std::string directory_;
  TopicPartition id_;
  std::uint64_t segment_bytes_;
  std::size_t index_interval_;
  std::int64_t now_us_;
  bool prepared_ = false;  // syncing is left to others
  bool made_ = false;      // by prepare()
  std::vector<std::string> problems_;
};

}  // namespace tidelog::log
