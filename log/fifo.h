// A queue in one block of memory that grows by doubling and is free of allocation while it is
// empty: ten thousand idle logs have several each.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace tidelog::log {

template <typename T>
class Fifo {
 public:
  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }

  // REQUIRES: index < size().
  T& operator[](std::size_t index) { return slots_[(first_ + index) & (slots_.size() - 1)]; }
  const T& operator[](std::size_t index) const {
    return slots_[(first_ + index) & (slots_.size() - 1)];
  }
  T& front() { return (*this)[0]; }
  const T& front() const { return (*this)[0]; }
  T& back() { return (*this)[count_ - 1]; }
  const T& back() const { return (*this)[count_ - 1]; }

  void push_back(T value) {
    if (count_ == slots_.size()) grow();
    ++count_;
    back() = std::move(value);
  }
  void pop_front() {
    front() = T();
    first_ = (first_ + 1) & (slots_.size() - 1);
    --count_;
  }
  void pop_back() {
    back() = T();
    --count_;
  }
  void clear() {
    slots_ = {};
    first_ = count_ = 0;
  }

 private:
  void grow() {
    std::vector<T> larger(slots_.empty() ? 4 : slots_.size() * 2);
    for (std::size_t i = 0; i < count_; ++i) larger[i] = std::move((*this)[i]);
    slots_ = std::move(larger);
    first_ = 0;
  }

  std::vector<T> slots_;  // size zero or a power of two
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace tidelog::log
