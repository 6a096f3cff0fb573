// Removes the files of segments that a log does not hold any more, where files are removed, when
// their last reader is gone: one log at a time, of it as many small segments at once as bring the
// syncs of a removal to few for the bytes. What a stop leaves is found and removed by the next
// start.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "log/segment.h"
#include "log/shard_context.h"

namespace tidelog::log {

// Thread: the shard's.
class SegmentRemover {
 public:
  explicit SegmentRemover(ShardContext& context) : context_(context) {}

  // REQUIRES: no start takes the segment for a part of its log, whatever a crash leaves of it.
  void add(std::shared_ptr<Segment> segment) { waiting_.push_back(std::move(segment)); }
  // Starts what can be started: to be called after add(), and from time to time, since nobody tells
  // when a reader went.
  void start();
  // The log in `directory` goes as a whole: nothing in it is touched from now on. Runs `done` when
  // that is so: at once, or when the removal of one of its files has ended.
  void forget(const std::string& directory, std::move_only_function<void()> done);
  // True when no file is being removed now.
  bool idle() const { return !running_; }

 private:
  // What goes next: segments of one log, the oldest first; none where all are read.
  std::vector<std::shared_ptr<Segment>> take_next();

  ShardContext& context_;
  std::vector<std::shared_ptr<Segment>> waiting_;
  bool running_ = false;
  std::string running_directory_;
  std::vector<std::move_only_function<void()>> forgotten_;  // to run when that one has ended
};

}  // namespace tidelog::log
