// How a queue asks its shard's loop to watch an eventfd, without knowing the loop.
#pragma once

#include <functional>

namespace tidelog::log::io {

// `watch` calls `readable` on the loop's thread whenever the counter of `fd` was not 0, having
// reset it just before; until `unwatch`. Both run on the loop's thread, or before the loop runs.
struct EventWatcher {
  std::function<void(int fd, std::move_only_function<void()> readable)> watch;
  std::function<void(int fd)> unwatch;
};

}  // namespace tidelog::log::io
