#include "log/open_segments.h"

#include <algorithm>

namespace tidelog::log {

void OpenSegments::used(const std::shared_ptr<Segment>& segment) {
  const auto [place, added] = places_.try_emplace(segment.get());
  if (added) {
    ages_.push_back(segment);
    place->second = std::prev(ages_.end());
  } else {
    // Another segment may lie now where one was that is gone.
    *place->second = segment;
    ages_.splice(ages_.end(), ages_, place->second);
  }
  shrink();
}

std::size_t OpenSegments::count() const {
  return static_cast<std::size_t>(std::ranges::count_if(ages_, [](const auto& held) {
    const std::shared_ptr<Segment> segment = held.lock();
    return segment && segment->file;
  }));
}

void OpenSegments::shrink() {
  while (ages_.size() > count_max_) {
    const std::shared_ptr<Segment> oldest = ages_.front().lock();
    if (oldest) {
      oldest->file.reset();
      if (oldest->sealed) oldest->index.reset();
      places_.erase(oldest.get());
    } else {
      std::erase_if(places_, [&](const auto& place) { return place.second == ages_.begin(); });
    }
    ages_.pop_front();
  }
}

}  // namespace tidelog::log
