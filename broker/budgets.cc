#include "broker/budgets.h"

#include "base/check.h"

namespace tidelog::broker {

void BudgetHold::release() {
  if (budget_ == nullptr) return;
  std::exchange(budget_, nullptr)->give_back(std::exchange(bytes_, 0));
}

void BudgetHold::shrink_to(std::size_t bytes) {
  TIDELOG_CHECK(bytes <= bytes_, "a hold only shrinks");
  const std::size_t freed = bytes_ - bytes;
  bytes_ = bytes;
  if (budget_ != nullptr && freed > 0) budget_->give_back(freed);
}

bool MemoryBudget::try_take(std::size_t bytes) {
  std::size_t used = used_.load(std::memory_order_seq_cst);
  do {
    if (used != 0 && (used >= limit_ || bytes > limit_ - used)) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_seq_cst));
  return true;
}

BudgetHold MemoryBudget::take(std::size_t bytes) {
  if (try_take(bytes)) return {this, bytes};
  // Say so first, then look again: bytes given back in between would wake nobody.
  somebody_waits_.store(true, std::memory_order_seq_cst);
  if (try_take(bytes)) return {this, bytes};
  return {};
}

BudgetHold MemoryBudget::take_if_room(std::size_t bytes) {
  if (try_take(bytes)) return {this, bytes};
  return {};
}

BudgetHold MemoryBudget::take_anyway(std::size_t bytes) {
  used_.fetch_add(bytes, std::memory_order_seq_cst);
  return {this, bytes};
}

bool MemoryBudget::has_room() {
  if (used_.load(std::memory_order_seq_cst) < limit_) return true;
  somebody_waits_.store(true, std::memory_order_seq_cst);
  return used_.load(std::memory_order_seq_cst) < limit_;
}

void MemoryBudget::give_back(std::size_t bytes) {
  const std::size_t before = used_.fetch_sub(bytes, std::memory_order_seq_cst);
  // Wait until a quarter is free (or everything), so that those who wait are not woken for each
  // crumb.
  const std::size_t left = before - bytes;
  if (left != 0 && left > limit_ - limit_ / 4) return;
  if (!somebody_waits_.load(std::memory_order_seq_cst)) return;
  if (somebody_waits_.exchange(false, std::memory_order_seq_cst) && freed_) freed_();
}

}  // namespace tidelog::broker
