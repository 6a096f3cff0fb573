// Pooled, aligned buffers, and shared slices of them: how bytes travel without being copied.
//
// A Buffer is owned by one place at a time and writable. freeze() turns it into SharedBytes, an
// immutable slice with a reference count, which may be cut, copied and handed to other threads.
// When the last slice goes, the memory returns to the pool it came from, whatever thread that
// happens on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace tidelog {

class BufferPool;

// Alignment and smallest size of every buffer: O_DIRECT wants both.
inline constexpr std::size_t kBufferAlignment = 4096;

namespace internal {

// The header of a buffer's memory; the bytes lie elsewhere so that they stay aligned.
struct BufferBlock {
  std::byte* data = nullptr;
  std::size_t capacity = 0;
  BufferPool* pool = nullptr;  // null: memory of its own, freed with the last reference
  std::atomic<std::uint32_t> references{0};
};
void release_block(BufferBlock* block);

}  // namespace internal

// An immutable slice of shared memory. Copying counts a reference. Thread: distinct objects may be
// used by distinct threads.
class SharedBytes {
 public:
  SharedBytes() = default;
  SharedBytes(const SharedBytes& other) : block_(other.block_), bytes_(other.bytes_) { acquire(); }
  SharedBytes(SharedBytes&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(block_, other.block_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SharedBytes() {
    if (block_ != nullptr) internal::release_block(block_);
  }

  // A copy of `bytes` in memory of its own, outside any pool.
  static SharedBytes copy_of(std::span<const std::byte> bytes);
  // `bytes` of static storage duration, never freed.
  static SharedBytes of_static(std::span<const std::byte> bytes) {
    SharedBytes shared;
    shared.bytes_ = bytes;
    return shared;
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::byte* data() const { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // REQUIRES: position + length <= size().
  SharedBytes slice(std::size_t position, std::size_t length) const;
  // Memory held alive by this slice (0 for static bytes); what a cache must count.
  std::size_t held_bytes() const { return block_ != nullptr ? block_->capacity : 0; }

 private:
  friend class Buffer;
  void acquire() const {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  internal::BufferBlock* block_ = nullptr;
  std::span<const std::byte> bytes_;
};

// Writable memory with one owner, aligned to kBufferAlignment. Contents start undefined.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (block_ != nullptr) internal::release_block(block_);
  }

  // Memory outside any pool. `capacity` is rounded up to kBufferAlignment.
  static Buffer allocate(std::size_t capacity);

  std::byte* data() { return block_ != nullptr ? block_->data : nullptr; }
  const std::byte* data() const { return block_ != nullptr ? block_->data : nullptr; }
  std::size_t capacity() const { return block_ != nullptr ? block_->capacity : 0; }
  std::span<std::byte> bytes() { return {data(), capacity()}; }
  std::span<const std::byte> bytes() const { return {data(), capacity()}; }
  explicit operator bool() const { return block_ != nullptr; }

  // Gives up ownership: the first `size` bytes become immutable and shared.
  // REQUIRES: size <= capacity().
  SharedBytes freeze(std::size_t size) &&;

  // A shared view of bytes already written, while the owner goes on writing BEHIND them: for logs
  // whose tail is read while it grows. REQUIRES: position + length <= capacity(); the owner never
  // again changes those bytes while a view of them exists.
  SharedBytes view(std::size_t position, std::size_t length) const;

 private:
  friend class BufferPool;
  explicit Buffer(internal::BufferBlock* block) : block_(block) {}
  internal::BufferBlock* block_ = nullptr;
};

// Hands out buffers of size classes 4 KiB to 16 MiB (powers of two) and keeps what comes back, up
// to a bound. Thread: any; the pool must outlive its buffers.
class BufferPool {
 public:
  // Keeps at most `retained_bytes_max` bytes of unused memory.
  explicit BufferPool(std::size_t retained_bytes_max);
  // REQUIRES: every buffer and slice has come back.
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A buffer of at least `size` bytes; above the largest class it has exactly the pages it needs
  // and is not kept afterwards.
  Buffer take(std::size_t size);

  // Bytes of buffers that are out.
  std::size_t outstanding_bytes() const { return outstanding_.load(std::memory_order_relaxed); }
  // Bytes of unused memory that the pool keeps.
  std::size_t retained_bytes() const { return retained_.load(std::memory_order_relaxed); }

 private:
  friend void internal::release_block(internal::BufferBlock*);
  struct SizeClass;
  void give_back(internal::BufferBlock* block);

  const std::size_t retained_bytes_max_;
  std::atomic<std::size_t> outstanding_{0};
  std::atomic<std::size_t> retained_{0};
  SizeClass* classes_;  // kClasses of them, owned
};

}  // namespace tidelog
