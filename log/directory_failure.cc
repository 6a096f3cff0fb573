#include "log/directory_failure.h"

#include <utility>

namespace tidelog::log {

void DirectoryFailure::listen(Executor& executor, std::weak_ptr<bool> alive, Listener listener) {
  const std::lock_guard lock(mutex_);
  members_.push_back({&executor, std::move(alive), std::move(listener)});
}

bool DirectoryFailure::report(const Error& error) {
  const std::lock_guard lock(mutex_);
  if (error_) return false;
  error_ = error;
  for (const Member& member : members_) {
    member.executor->post([alive = member.alive, listener = member.listener, error] {
      if (!alive.expired()) listener(error);
    });
  }
  return true;
}

std::optional<Error> DirectoryFailure::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace tidelog::log
