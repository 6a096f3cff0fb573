// Memory budgets: how many bytes of requests and answers may be alive at once. One for produce, one
// for fetch, one for control, so that none can starve the others. Past a budget the broker stops
// reading the sockets (or the logs) that fill it.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <utility>

namespace tidelog::broker {

class MemoryBudget;

// Bytes taken from a budget; given back when destroyed. Thread: any, one at a time.
class BudgetHold {
 public:
  BudgetHold() = default;
  BudgetHold(BudgetHold&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  BudgetHold& operator=(BudgetHold&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  BudgetHold(const BudgetHold&) = delete;
  BudgetHold& operator=(const BudgetHold&) = delete;
  ~BudgetHold() { release(); }

  std::size_t bytes() const { return bytes_; }
  explicit operator bool() const { return budget_ != nullptr; }
  void release();
  // Gives back all but `bytes`. REQUIRES: bytes <= bytes().
  void shrink_to(std::size_t bytes);

 private:
  friend class MemoryBudget;
  BudgetHold(MemoryBudget* budget, std::size_t bytes) : budget_(budget), bytes_(bytes) {}
  MemoryBudget* budget_ = nullptr;
  std::size_t bytes_ = 0;
};

// Thread: any. Must outlive its holds.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t limit_bytes) : limit_(limit_bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // `freed` runs on whatever thread gives bytes back, once after a take() was refused and room
  // came; it must only post; null for nobody. REQUIRES: no other thread takes or gives back.
  void on_freed(std::function<void()> freed) { freed_ = std::move(freed); }

  // An empty hold when the budget is used up. What is alone always gets in, whatever its size, so
  // that nothing waits for ever. After a refusal on_freed's function runs when it is worth trying
  // again.
  BudgetHold take(std::size_t bytes);

  // The same for who does not wait: nobody is told later.
  BudgetHold take_if_room(std::size_t bytes);

  // Takes what was read already, even beyond the limit. For bytes whose number was not known
  // before.
  BudgetHold take_anyway(std::size_t bytes);
  // False when nothing more should be read; then on_freed's function runs later, as for take().
  bool has_room();

  // Somebody was refused, and has not been told yet that there is room.
  bool is_waited_for() const { return somebody_waits_.load(std::memory_order_relaxed); }
  // More than half is used: those who take a lot are to take less.
  bool is_scarce() const { return used() > limit_ / 2; }
  std::size_t used() const { return used_.load(std::memory_order_relaxed); }
  std::size_t limit() const { return limit_; }

 private:
  friend class BudgetHold;
  bool try_take(std::size_t bytes);
  void give_back(std::size_t bytes);

  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
  std::atomic<bool> somebody_waits_{false};
  std::function<void()> freed_;
};

}  // namespace tidelog::broker
