// Reads batches that memory no longer holds: aligned reads of segments, each batch verified once
// when it comes from the disk, one read ahead for whoever reads on, in a bounded cache of its own.
//
// What lies in the cache are extents: contiguous runs of sound batches of one segment. A bad batch
// ends an extent; the range of offsets that it makes unreadable is remembered and refused,
// everything around it is served. Thread: the shard's.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer_pool.h"
#include "log/fifo.h"
#include "log/partition_log.h"
#include "log/segment.h"
#include "log/shard_context.h"

namespace tidelog::log {

// One log, as the cold reader sees it.
class ColdSource {
 public:
  virtual ~ColdSource() = default;
  virtual const TopicPartition& source_id() const = 0;
  virtual SegmentList& source_segments() = 0;
  virtual const std::vector<Hole>& source_holes() const = 0;
  virtual bool source_gone() const = 0;
  // What the tail answers; nullopt: the disk is needed.
  virtual std::optional<Result<ReadResult>> source_tail(Offset from, const ReadLimits& limits) = 0;

  // Ranges in which the disk gave back something else than what was written; rising.
  const std::vector<Hole>& corrupt_ranges() const { return corrupt_; }

 private:
  friend class ColdReader;
  std::vector<Hole> corrupt_;
  std::optional<Offset> reading_ahead_;
  // Counts forget(): what was asked of the disk before one may be of what is no more.
  std::uint64_t cuts_ = 0;
};

class ColdReader {
 public:
  explicit ColdReader(ShardContext& context) : context_(context) {}

  // Who reads. Searches wait in a line of their own, one at a time and turn about with readers, so
  // that any number of them holds up nobody who reads on.
  enum class For : std::uint8_t { kReader, kSearch };
  // Answers by `done`, never inside the call. REQUIRES: `from` is below what the tail holds.
  // Fails with kCorruptData, kLostData (the message names the range and the next sound offset),
  // kUnknownPartition, kStorageFailed.
  void read(std::shared_ptr<ColdSource> source, Offset from, const ReadLimits& limits,
            PartitionLog::ReadCallback done, For purpose = For::kReader);
  // Drops what the cache holds of `source` from `offset` on, and what is being read of it now.
  void forget(ColdSource& source, Offset offset);
  // The log begins at `start` now: damage below it is no matter any more.
  void start_moved(ColdSource& source, Offset start);
  // Opens `segment` and loads its index where that is not done. Fails with kCancelled when the log
  // was cut meanwhile (what it held may lie elsewhere now), kCorruptData, kStorageFailed.
  void with_index(std::shared_ptr<ColdSource> source, std::shared_ptr<Segment> segment,
                  std::move_only_function<void(Result<>)> done);

 private:
  struct Extent {
    Offset base;
    Offset next;
    std::uint64_t end_position = 0;  // in the segment
    SharedBytes memory;
    struct Batch {
      Offset next;
      std::uint32_t position = 0;  // in `memory`
      std::uint32_t bytes = 0;
    };
    std::vector<Batch> batches;
  };
  using Key = std::pair<const ColdSource*, Offset>;
  struct Cached {
    Extent extent;
    std::list<Key>::iterator age;
  };
  struct Request {
    std::shared_ptr<ColdSource> source;
    Offset from;
    ReadLimits limits;
    PartitionLog::ReadCallback done;  // null: a read ahead
    For purpose = For::kReader;
    std::size_t window = 0;
    std::shared_ptr<Segment> segment;
    // Of the segment, which may give them up meanwhile.
    std::shared_ptr<io::File> file;
    std::shared_ptr<SegmentIndex> index;
    std::uint64_t cuts = 0;  // of the source when it was looked at last
  };
  using RequestPtr = std::shared_ptr<Request>;
  // What a window of a segment showed.
  struct Parsed {
    Extent extent;  // may be empty
    std::optional<Hole> corrupt;
    std::string reason;
    std::size_t window_needed = 0;  // what is asked for does not fit
  };

  void start_next();
  RequestPtr take_next();  // null: nothing may start now
  void run(const RequestPtr& request);
  void run_after_cut(const RequestPtr& request);
  void load(const RequestPtr& request);
  // A window of a segment, and what stands where in it.
  struct Window {
    std::shared_ptr<Buffer> buffer;
    std::size_t bytes = 0;
    std::uint64_t start = 0;     // in the segment
    std::uint64_t position = 0;  // of the batch with offset `expected`
    Offset expected;
  };
  // The device refused to read a window: reads it again block by block, so that only the batches in
  // the bad ones are lost.
  void read_around(const RequestPtr& request, Window window, const Error& error);
  void loaded(const RequestPtr& request, SharedBytes memory, const Window& window);
  Parsed parse(const Request& request, const SharedBytes& memory, const Window& window) const;
  void finish(const RequestPtr& request, Result<ReadResult> result);
  Result<ReadResult> refuse(const Request& request) const;
  ReadResult collect(const Request& request, const Extent& extent) const;
  void read_ahead(const Request& request, const Extent& extent, const ReadResult& result);
  const Extent* cached(const ColdSource& source, Offset offset);
  const Extent* ending_at(const ColdSource& source, Offset offset) const;
  const Extent& insert(const ColdSource& source, Extent extent);
  void add_corrupt(ColdSource& source, const Hole& range, const std::string& reason);
  template <typename Predicate>
  void drop_corrupt(ColdSource& source, Predicate is_over);

  ShardContext& context_;
  Fifo<RequestPtr> queue_;     // of readers
  Fifo<RequestPtr> searches_;  // wait for theirs
  bool searching_ = false;     // one of them runs
  bool searched_last_ = false;
  int running_ = 0;
  bool starting_ = false;  // start_next() runs
  std::map<Key, Cached> extents_;
  std::list<Key> ages_;  // least recently used first
  std::size_t bytes_ = 0;
};

}  // namespace tidelog::log
