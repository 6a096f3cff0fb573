// Requests that wait for other shards: they stay on their connection's shard, which owns them,
// while the others hold plain pointers that they only hand back. A call goes when everybody has
// reported.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"

namespace tidelog::broker {

// Thread: its connection's shard.
class Call {
 public:
  Call() = default;
  virtual ~Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Its deadline has passed: answers what has not settled yet.
  virtual void deadline_passed() {}
  // Answers what has settled in this turn, where it asked for that.
  virtual void end_of_turn() {}

 private:
  friend class Calls;
  Call* previous_ = nullptr;
  Call* next_ = nullptr;
  bool wants_end_of_turn_ = false;
  std::optional<SteadyTime> deadline_;
};

// The open calls of a shard. Thread: the shard's.
class Calls {
 public:
  // `executor` outlives the calls.
  explicit Calls(Executor& executor) : executor_(executor) {}
  ~Calls() {
    while (first_ != nullptr) {
      const std::unique_ptr<Call> owned(first_);
      first_ = first_->next_;
    }
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  template <typename T, typename... Arguments>
  T& add(Arguments&&... arguments) {
    auto call = std::make_unique<T>(std::forward<Arguments>(arguments)...);
    T* added = call.release();
    added->next_ = first_;
    if (first_ != nullptr) first_->previous_ = added;
    first_ = added;
    return *added;
  }

  // Destroys `call`.
  void remove(Call& call) {
    if (call.wants_end_of_turn_) std::erase(of_this_turn_, &call);
    (call.previous_ != nullptr ? call.previous_->next_ : first_) = call.next_;
    if (call.next_ != nullptr) call.next_->previous_ = call.previous_;
    const std::unique_ptr<Call> owned(&call);
  }

  // Calls call.end_of_turn() once, at the end of this turn.
  void call_at_end_of_turn(Call& call) {
    if (!std::exchange(call.wants_end_of_turn_, true)) of_this_turn_.push_back(&call);
  }
  void end_of_turn() {
    if (of_this_turn_.empty()) return;
    for (Call* call : std::exchange(of_this_turn_, {})) {
      call->wants_end_of_turn_ = false;
      call->end_of_turn();
    }
  }

  // Whether end_of_turn() has something to do.
  bool has_turn_work() const { return !of_this_turn_.empty(); }

  // Calls call.deadline_passed() once, `within` that time, unless it is gone by then.
  void set_deadline(Call& call, std::chrono::milliseconds within) {
    call.deadline_ = executor_.clock().now() + within;
    if (timer_ != 0 && *call.deadline_ >= timer_at_) return;
    executor_.cancel(timer_);
    look_at(*call.deadline_);
  }

 private:
  // One timer for all: most calls are gone long before their deadlines.
  void look_at(SteadyTime at) {
    timer_at_ = at;
    const auto left = std::max(at - executor_.clock().now(), SteadyTime::duration::zero());
    timer_ = executor_.run_after(std::chrono::ceil<std::chrono::microseconds>(left), [this] {
      timer_ = 0;
      check_deadlines();
    });
  }
  void check_deadlines() {
    const SteadyTime now = executor_.clock().now();
    std::optional<SteadyTime> next_deadline;
    for (Call* call = first_; call != nullptr;) {
      Call* next = call->next_;
      if (call->deadline_ && *call->deadline_ <= now) {
        call->deadline_.reset();
        call->deadline_passed();
      } else if (call->deadline_ && (!next_deadline || *call->deadline_ < *next_deadline)) {
        next_deadline = call->deadline_;
      }
      call = next;
    }
    if (next_deadline && timer_ == 0) look_at(*next_deadline);
  }

  Executor& executor_;
  TimerId timer_ = 0;
  SteadyTime timer_at_;
  Call* first_ = nullptr;
  std::vector<Call*> of_this_turn_;
};

}  // namespace tidelog::broker
