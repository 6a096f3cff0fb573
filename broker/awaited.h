// Waits on one thread for a callback that runs on another: how the broker's own thread starts and
// stops shards. Never used on a shard.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/result.h"

namespace tidelog::broker {

template <typename T = void>
class Awaited {
 public:
  // Takes the result; call it at most once. May outlive this object.
  auto callback() {
    return [state = state_](Result<T> result) {
      {
        const std::lock_guard lock(state->mutex);
        state->result = std::move(result);
      }
      state->arrived.notify_all();
    };
  }

  // Fails with kTimedOut when nothing came by `deadline`; `what` names it.
  Result<T> wait_until(std::chrono::steady_clock::time_point deadline, const char* what) {
    std::unique_lock lock(state_->mutex);
    const bool came =
        state_->arrived.wait_until(lock, deadline, [this] { return state_->result.has_value(); });
    if (!came) return fail(ErrorCode::kTimedOut, std::string(what) + " took too long");
    return std::move(*state_->result);
  }

  Result<T> wait() {
    std::unique_lock lock(state_->mutex);
    state_->arrived.wait(lock, [this] { return state_->result.has_value(); });
    return std::move(*state_->result);
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable arrived;
    std::optional<Result<T>> result;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace tidelog::broker
