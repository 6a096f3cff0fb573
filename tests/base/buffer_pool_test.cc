#include "base/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/bytes.h"

namespace tidelog {
namespace {

TEST(BufferPoolTest, HandsOutAlignedBuffersOfAtLeastTheSizeAskedFor) {
  BufferPool pool(64 << 20);
  for (const std::size_t size : {0UL, 1UL, 4096UL, 4097UL, 1UL << 20, (16UL << 20) + 1}) {
    const Buffer buffer = pool.take(size);
    EXPECT_GE(buffer.capacity(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kBufferAlignment, 0U);
    EXPECT_EQ(buffer.capacity() % kBufferAlignment, 0U);
    EXPECT_EQ(pool.outstanding_bytes(), buffer.capacity());
  }
  EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST(BufferPoolTest, UsesAgainWhatCameBack) {
  BufferPool pool(1 << 20);
  const std::byte* first = nullptr;
  {
    const Buffer buffer = pool.take(5000);
    first = buffer.data();
  }
  EXPECT_EQ(pool.retained_bytes(), 8192U);
  EXPECT_EQ(pool.take(8192).data(), first);
}

TEST(BufferPoolTest, KeepsNoMoreThanItsBound) {
  BufferPool pool(3 * 4096);
  {
    std::vector<Buffer> buffers;
    buffers.reserve(10);
    for (int i = 0; i < 10; ++i) buffers.push_back(pool.take(4096));
    EXPECT_EQ(pool.outstanding_bytes(), 10 * 4096U);
  }
  EXPECT_EQ(pool.retained_bytes(), 3 * 4096U);
  // Above the largest class nothing is kept.
  BufferPool large(std::size_t{1} << 30);
  large.take(17 << 20);
  EXPECT_EQ(large.retained_bytes(), 0U);
}

TEST(SharedBytesTest, KeepsMemoryUntilTheLastSliceGoes) {
  BufferPool pool(1 << 20);
  SharedBytes slice;
  {
    Buffer buffer = pool.take(100);
    std::memcpy(buffer.data(), "0123456789", 10);
    const SharedBytes whole = std::move(buffer).freeze(10);
    EXPECT_EQ(as_text(whole.bytes()), "0123456789");
    EXPECT_FALSE(buffer);  // NOLINT(bugprone-use-after-move): freeze leaves it empty
    slice = whole.slice(2, 3);
    const SharedBytes copy = slice;
    EXPECT_EQ(copy.data(), slice.data());
  }
  EXPECT_EQ(as_text(slice.bytes()), "234");
  EXPECT_EQ(slice.held_bytes(), 4096U);
  EXPECT_EQ(pool.outstanding_bytes(), 4096U);
  slice = {};
  EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST(SharedBytesTest, MayBeViewedWhileTheOwnerWritesBehind) {
  BufferPool pool(1 << 20);
  Buffer buffer = pool.take(100);
  std::memcpy(buffer.data(), "first", 5);
  const SharedBytes first = buffer.view(0, 5);
  std::memcpy(buffer.data() + 5, "second", 6);
  const SharedBytes both = buffer.view(0, 11);
  buffer = Buffer();
  EXPECT_EQ(as_text(first.bytes()), "first");
  EXPECT_EQ(as_text(both.bytes()), "firstsecond");
}

TEST(SharedBytesTest, ReturnsToItsPoolFromAnyThread) {
  BufferPool pool(8 << 20);
  constexpr int kThreads = 3;
  constexpr int kRounds = 2000;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < kRounds; ++i) {
        Buffer buffer = pool.take(static_cast<std::size_t>(1 + (i % 3) * 5000));
        std::memset(buffer.data(), t, 100);
        const SharedBytes bytes = std::move(buffer).freeze(100);
        if (i % 100 == 0) {
          std::thread([copy = bytes, t] {
            EXPECT_EQ(copy.data()[99], static_cast<std::byte>(t));
          }).join();
        }
        EXPECT_EQ(bytes.slice(50, 1).data()[0], static_cast<std::byte>(t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST(SharedBytesDeathTest, ChecksItsBounds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const SharedBytes bytes = SharedBytes::copy_of(as_bytes("abc"));
  EXPECT_DEATH(bytes.slice(1, 3), "outside");
  EXPECT_DEATH(bytes.slice(4, 0), "outside");
  EXPECT_DEATH(Buffer::allocate(10).freeze(4097), "more than the buffer holds");
}

}  // namespace
}  // namespace tidelog
