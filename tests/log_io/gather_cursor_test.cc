#include "log/io/gather_cursor.h"

#include <gtest/gtest.h>

#include <array>

namespace tidelog::log::io {
namespace {

std::size_t bytes_of(std::span<const iovec> pieces) {
  std::size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

class GatherCursorTest : public ::testing::Test {
 protected:
  GatherCursorTest() {
    const std::span<const std::byte> memory(memory_);
    const std::array pieces{memory.first(1024), memory.subspan(1024, 0),
                            memory.subspan(2048, 2048)};
    cursor_.reset(FilePosition(4096), pieces);
  }
  std::array<std::byte, 4096> memory_{};
  GatherCursor cursor_;
};

TEST_F(GatherCursorTest, GivesAllPiecesThatHaveBytes) {
  ASSERT_EQ(cursor_.next().size(), 2U);
  EXPECT_EQ(cursor_.next()[1].iov_base, memory_.data() + 2048);
  EXPECT_EQ(bytes_of(cursor_.next()), 3072U);
}

TEST_F(GatherCursorTest, GoesOnBehindAShortWrite) {
  EXPECT_TRUE(cursor_.advance(1024 + 512));
  EXPECT_EQ(cursor_.position(), FilePosition(4096 + 1536));
  ASSERT_EQ(cursor_.next().size(), 1U);
  EXPECT_EQ(cursor_.next()[0].iov_base, memory_.data() + 2048 + 512);
  EXPECT_TRUE(cursor_.advance(1536));
  EXPECT_TRUE(cursor_.done());
}

TEST_F(GatherCursorTest, RepeatsTheSectorInWhichAShortWriteEnded) {
  EXPECT_TRUE(cursor_.advance(700));
  EXPECT_EQ(cursor_.position(), FilePosition(4096 + 512));
  EXPECT_EQ(bytes_of(cursor_.next()), 3072U - 512U);
}

TEST_F(GatherCursorTest, SaysWhenNothingCameThrough) {
  EXPECT_FALSE(cursor_.advance(511));
  EXPECT_EQ(cursor_.position(), FilePosition(4096));
}

}  // namespace
}  // namespace tidelog::log::io
