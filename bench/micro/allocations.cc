#include "bench/micro/allocations.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {

thread_local std::uint64_t count = 0;

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  ++count;
  return memory;
}

}  // namespace

namespace tidelog::bench {
std::uint64_t allocations() { return count; }
}  // namespace tidelog::bench

// The other forms call these.
void* operator new(std::size_t bytes) {
  return counted(std::malloc(std::max(bytes, std::size_t{1})));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto grain = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(grain, (bytes + grain - 1) / grain * grain));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
