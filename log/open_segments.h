// Bounds how many segment files a shard holds open, and how many indexes of sealed segments are in
// memory: whoever was used longest ago gives its handle up, and gets it back when it is wanted.
//
// Operations in flight hold the file themselves, so giving a handle up never closes a file under
// them. A file job that works on a segment itself (taking space, sealing) pins it meanwhile.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <unordered_map>

#include "log/segment.h"

namespace tidelog::log {

// Thread: the shard's.
class OpenSegments {
 public:
  explicit OpenSegments(std::size_t count_max) : count_max_(count_max) {}

  // `segment` has its file open and is used now. Others may lose theirs.
  void used(const std::shared_ptr<Segment>& segment);

  // Those that have their file open now: the logs of others may be gone.
  std::size_t count() const;

 private:
  using Ages = std::list<std::weak_ptr<Segment>>;

  void shrink();

  std::size_t count_max_;
  Ages ages_;  // used longest ago first
  std::unordered_map<const Segment*, Ages::iterator> places_;
};

}  // namespace tidelog::log
