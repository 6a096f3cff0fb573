// Requests that wait for other shards: they stay on their connection's shard, which owns them,
// while the others hold plain pointers that they only hand back. A call goes when everybody has
// reported.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace tidelog::broker {

// Thread: its connection's shard.
class Call {
 public:
  Call() = default;
  virtual ~Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Answers what has not settled by its deadline.
  virtual void check_deadline(SteadyTime) {}
  // Answers what has settled in this turn, where it asked for that.
  virtual void end_of_turn() {}

 private:
  friend class Calls;
  Call* previous_ = nullptr;
  Call* next_ = nullptr;
  bool wants_end_of_turn_ = false;
};

// The open calls of a shard. Thread: the shard's.
class Calls {
 public:
  Calls() = default;
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

  void check_deadlines(SteadyTime now) {
    for (Call* call = first_; call != nullptr;) {
      Call* next = call->next_;
      call->check_deadline(now);
      call = next;
    }
  }

 private:
  Call* first_ = nullptr;
  std::vector<Call*> of_this_turn_;
};

}  // namespace tidelog::broker
