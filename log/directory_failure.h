// That a data directory fails as a whole: a write or sync that one shard saw fail ends
// acknowledgements on all of them.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/executor.h"
#include "base/result.h"

namespace tidelog::log {

// Thread: any.
class DirectoryFailure {
 public:
  using Listener = std::function<void(const Error&)>;
  // `listener` runs as a task of `executor` when the directory fails, while `alive` lives.
  void listen(Executor& executor, std::weak_ptr<bool> alive, Listener listener);
  // The first error counts; true for it.
  bool report(const Error& error);
  // Nullopt: it takes writes, as far as is known.
  std::optional<Error> error() const;

 private:
  struct Member {
    Executor* executor;
    std::weak_ptr<bool> alive;
    Listener listener;
  };
  mutable std::mutex mutex_;
  std::vector<Member> members_;
  std::optional<Error> error_;
};

}  // namespace tidelog::log
