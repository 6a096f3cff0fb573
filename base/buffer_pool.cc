#include "base/buffer_pool.h"

#include <sanitizer/asan_interface.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"

namespace tidelog {
namespace {

constexpr int kSmallestClassBits = 12;
constexpr int kLargestClassBits = 24;
constexpr int kClasses = kLargestClassBits - kSmallestClassBits + 1;

internal::BufferBlock* new_block(std::size_t capacity, BufferPool* pool) {
  auto* block = new internal::BufferBlock;
  block->data = static_cast<std::byte*>(std::aligned_alloc(kBufferAlignment, capacity));
  if (block->data == nullptr) throw std::bad_alloc();
  block->capacity = capacity;
  block->pool = pool;
  return block;
}

void delete_block(internal::BufferBlock* block) {
  std::free(block->data);
  delete block;
}

// Index of the class that holds `capacity`, or -1 where no class is large enough.
int class_of(std::size_t capacity) {
  const int bits = std::max(kSmallestClassBits, static_cast<int>(std::bit_width(capacity - 1)));
  return bits > kLargestClassBits ? -1 : bits - kSmallestClassBits;
}

}  // namespace

void internal::release_block(BufferBlock* block) {
  if (block->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (block->pool != nullptr) {
    block->pool->give_back(block);
  } else {
    delete_block(block);
  }
}

SharedBytes SharedBytes::copy_of(std::span<const std::byte> bytes) {
  Buffer buffer = Buffer::allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return std::move(buffer).freeze(bytes.size());
}

SharedBytes SharedBytes::slice(std::size_t position, std::size_t length) const {
  TIDELOG_CHECK(position <= size() && length <= size() - position, "slice lies outside its bytes");
  SharedBytes part(*this);
  part.bytes_ = bytes_.subspan(position, length);
  return part;
}

Buffer Buffer::allocate(std::size_t capacity) {
  auto* block = new_block(align_up(std::max<std::size_t>(capacity, 1), kBufferAlignment), nullptr);
  block->references.store(1, std::memory_order_relaxed);
  return Buffer(block);
}

SharedBytes Buffer::freeze(std::size_t size) && {
  TIDELOG_CHECK(size <= capacity(), "cannot freeze more than the buffer holds");
  SharedBytes shared;
  shared.bytes_ = {data(), size};
  shared.block_ = std::exchange(block_, nullptr);
  return shared;
}

SharedBytes Buffer::view(std::size_t position, std::size_t length) const {
  TIDELOG_CHECK(position <= capacity() && length <= capacity() - position,
                "view lies outside its buffer");
  SharedBytes shared;
  shared.block_ = block_;
  shared.bytes_ = {data() + position, length};
  shared.acquire();
  return shared;
}

struct BufferPool::SizeClass {
  std::mutex mutex;
  std::vector<internal::BufferBlock*> unused;
};

BufferPool::BufferPool(std::size_t retained_bytes_max)
    : retained_bytes_max_(retained_bytes_max), classes_(new SizeClass[kClasses]) {}

BufferPool::~BufferPool() {
  TIDELOG_CHECK(outstanding_bytes() == 0, "buffers must come back before their pool goes");
  for (int i = 0; i < kClasses; ++i) {
    for (internal::BufferBlock* block : classes_[i].unused) {
      ASAN_UNPOISON_MEMORY_REGION(block->data, block->capacity);
      delete_block(block);
    }
  }
  delete[] classes_;
}

Buffer BufferPool::take(std::size_t size) {
  const int index = class_of(std::max<std::size_t>(size, 1));
  internal::BufferBlock* block = nullptr;
  if (index < 0) {
    block = new_block(align_up(size, kBufferAlignment), this);
  } else {
    SizeClass& size_class = classes_[index];
    {
      const std::lock_guard lock(size_class.mutex);
      if (!size_class.unused.empty()) {
        block = size_class.unused.back();
        size_class.unused.pop_back();
      }
    }
    if (block != nullptr) {
      ASAN_UNPOISON_MEMORY_REGION(block->data, block->capacity);
      retained_.fetch_sub(block->capacity, std::memory_order_relaxed);
    } else {
      block = new_block(std::size_t{1} << (index + kSmallestClassBits), this);
    }
  }
  block->references.store(1, std::memory_order_relaxed);
  outstanding_.fetch_add(block->capacity, std::memory_order_relaxed);
  return Buffer(block);
}

void BufferPool::give_back(internal::BufferBlock* block) {
  const std::size_t capacity = block->capacity;
  const int index = class_of(capacity);
  const bool keep =
      index >= 0 &&
      retained_.fetch_add(capacity, std::memory_order_relaxed) + capacity <= retained_bytes_max_;
  if (keep) {
    // A use after the last release is a bug that ASan should see although the memory stays ours.
    ASAN_POISON_MEMORY_REGION(block->data, capacity);
    const std::lock_guard lock(classes_[index].mutex);
    classes_[index].unused.push_back(block);
  } else {
    if (index >= 0) retained_.fetch_sub(capacity, std::memory_order_relaxed);
    delete_block(block);
  }
  // Last: a pool that is being destroyed waits for outstanding bytes to reach 0.
  outstanding_.fetch_sub(capacity, std::memory_order_release);
}

}  // namespace tidelog
