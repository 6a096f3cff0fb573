// What every IoQueue does, on every backend.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/bytes.h"
#include "tests/log_io/io_fixture.h"

namespace tidelog::log::io {
namespace {

class IoQueueConformanceTest : public ::testing::TestWithParam<World> {
 protected:
  void SetUp() override {
    std::string why_not;
    world_ = IoWorld::make(GetParam(), why_not);
    if (world_ == nullptr) GTEST_SKIP() << why_not;
    file_ = open(OpenMode::kCreate);
  }

  std::unique_ptr<File> open(OpenMode mode) {
    auto file = world_->files().open(world_->path("f"), {.mode = mode, .direct = true});
    EXPECT_TRUE(file.has_value()) << file.error().to_string();
    return std::move(file).value();
  }
  void write(std::uint64_t block, std::span<const std::byte> bytes,
             Durability durability = Durability::kDurable) {
    world_->queue().write(*file_, FilePosition(block * kBlockBytes), {&bytes, 1}, durability,
                          [this](const Result<>& result) { note(result); });
  }
  void sync() {
    world_->queue().sync(*file_, [this](const Result<>& result) { note(result); });
  }
  template <typename Value>
  void note(const Result<Value>& result) {
    EXPECT_TRUE(result.has_value()) << result.error().to_string();
    ++ended_;
  }
  void run_until_ended(int count) {
    world_->run_until([this, count] { return ended_ == count; });
  }
  Result<std::size_t> read(File& file, std::uint64_t block, std::span<std::byte> into) {
    std::optional<Result<std::size_t>> result;
    world_->queue().read(file, FilePosition(block * kBlockBytes), into,
                         [&](Result<std::size_t> length) { result = std::move(length); });
    world_->run_until([&] { return result.has_value(); });
    return *result;
  }

  std::unique_ptr<IoWorld> world_;
  std::unique_ptr<File> file_;
  int ended_ = 0;
};

TEST_P(IoQueueConformanceTest, ADurableWriteIsThereWhenTheFileIsOpenedAgain) {
  const Buffer bytes = pattern(3);
  write(2, bytes.bytes());
  run_until_ended(1);
  file_ = open(OpenMode::kRead);
  Buffer back = Buffer::allocate(3 * kBlockBytes);
  EXPECT_EQ(*read(*file_, 2, back.bytes()), 3 * kBlockBytes);
  EXPECT_TRUE(std::ranges::equal(back.bytes(), bytes.bytes()));
  EXPECT_EQ(*file_->size(), 5 * kBlockBytes);
}

TEST_P(IoQueueConformanceTest, APlainWriteAndASyncEndBothOnTheExecutor) {
  const Buffer bytes = pattern(1);
  write(0, bytes.bytes(), Durability::kPlain);
  run_until_ended(1);
  sync();
  run_until_ended(2);
  Buffer back = Buffer::allocate(kBlockBytes);
  EXPECT_EQ(*file_->read_at(FilePosition(0), back.bytes()), kBlockBytes);
  EXPECT_TRUE(std::ranges::equal(back.bytes(), bytes.bytes()));
}

TEST_P(IoQueueConformanceTest, CallbacksNeverRunInsideACall) {
  const Buffer bytes = pattern(64);
  for (std::uint64_t block = 0; block < 64; ++block) {
    write(block, bytes.bytes().subspan(block * kBlockBytes, kBlockBytes), Durability::kPlain);
    world_->queue().submit();
    ASSERT_EQ(ended_, 0);
  }
  EXPECT_EQ(world_->queue().in_flight(), 64U);
  run_until_ended(64);
  EXPECT_EQ(world_->queue().in_flight(), 0U);
}

TEST_P(IoQueueConformanceTest, WritesOfAnyOrderEndOnceEach) {
  constexpr std::uint64_t kWrites = 1000;  // more than a ring holds
  const Buffer bytes = pattern(kWrites);
  std::vector<int> ended(kWrites);
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < kWrites; ++i) {
    const std::uint64_t block = (i * 7) % kWrites;
    const std::span<const std::byte> piece =
        bytes.bytes().subspan(block * kBlockBytes, kBlockBytes);
    world_->queue().write(*file_, FilePosition(block * kBlockBytes), {&piece, 1},
                          i % 100 == 0 ? Durability::kDurable : Durability::kPlain,
                          [&, block](const Result<>& result) {
                            EXPECT_TRUE(result.has_value());
                            ++ended[block];
                            ++total;
                          });
  }
  world_->run_until([&] { return total == kWrites; });
  EXPECT_TRUE(std::ranges::all_of(ended, [](int times) { return times == 1; }));
  Buffer back = Buffer::allocate(kWrites * kBlockBytes);
  EXPECT_EQ(*read(*file_, 0, back.bytes()), kWrites * kBlockBytes);
  EXPECT_TRUE(std::ranges::equal(back.bytes(), bytes.bytes()));
}

TEST_P(IoQueueConformanceTest, TwoDurableWritesAreInFlightTogetherAndBothArrive) {
  const Buffer bytes = pattern(2);
  for (int round = 0; round < 20; ++round) {
    ended_ = 0;
    write(0, bytes.bytes().first(kBlockBytes));
    world_->queue().submit();
    write(1, bytes.bytes().subspan(kBlockBytes));
    world_->queue().submit();
    EXPECT_EQ(world_->queue().in_flight(), 2U);
    run_until_ended(2);
  }
  EXPECT_EQ(world_->queue().counters().writes, 40U);
}

TEST_P(IoQueueConformanceTest, GathersMorePiecesThanOneSystemCallTakes) {
  constexpr std::size_t kPieces = 1600;
  constexpr std::size_t kPieceBytes = 512;
  const Buffer bytes = pattern(kPieces);
  std::vector<std::span<const std::byte>> pieces;
  std::vector<std::byte> expected;
  for (std::size_t i = 0; i < kPieces; ++i) {
    pieces.push_back(bytes.bytes().subspan(i * kBlockBytes, kPieceBytes));
    expected.insert(expected.end(), pieces.back().begin(), pieces.back().end());
  }
  world_->queue().write(*file_, FilePosition(kBlockBytes), pieces, Durability::kDurable,
                        [this](const Result<>& result) { note(result); });
  pieces.clear();  // the list of pieces need not live, only the bytes
  run_until_ended(1);
  Buffer back = Buffer::allocate(expected.size());
  EXPECT_EQ(*read(*file_, 1, back.bytes()), expected.size());
  EXPECT_TRUE(std::ranges::equal(back.bytes(), expected));
  EXPECT_EQ(world_->queue().counters().writes, 1U);
  EXPECT_EQ(world_->queue().counters().write_bytes, expected.size());
}

TEST_P(IoQueueConformanceTest, WritesMegabytesAtOnce) {
  const Buffer bytes = pattern(2048);
  write(0, bytes.bytes());
  run_until_ended(1);
  Buffer back = Buffer::allocate(bytes.capacity());
  EXPECT_EQ(*read(*file_, 0, back.bytes()), bytes.capacity());
  EXPECT_TRUE(std::ranges::equal(back.bytes(), bytes.bytes()));
}

TEST_P(IoQueueConformanceTest, ReadsAreShortOnlyAtTheEndOfTheFile) {
  const Buffer bytes = pattern(2);
  write(0, bytes.bytes());
  run_until_ended(1);
  Buffer back = Buffer::allocate(4 * kBlockBytes);
  for (const std::uint64_t size : {2 * kBlockBytes, kBlockBytes + 512, kBlockBytes + 100, 1UL}) {
    ASSERT_TRUE(file_->truncate(size).has_value());
    EXPECT_EQ(*read(*file_, 0, back.bytes()), size);
    EXPECT_TRUE(std::ranges::equal(back.bytes().first(size), bytes.bytes().first(size)));
    EXPECT_EQ(*read(*file_, 2, back.bytes()), 0U);
    EXPECT_EQ(*read(*file_, 1000, back.bytes().first(kBlockBytes)), 0U);
    // Blocking reads say the same.
    EXPECT_EQ(*file_->read_at(FilePosition(0), back.bytes()), size);
    EXPECT_EQ(*file_->read_at(FilePosition(1000 * kBlockBytes), back.bytes()), 0U);
  }
}

TEST_P(IoQueueConformanceTest, AllocatedRangesReadAsZeros) {
  const Buffer bytes = pattern(4);
  write(0, bytes.bytes());
  run_until_ended(1);
  ASSERT_TRUE(file_->allocate(FilePosition(4 * kBlockBytes), 4 * kBlockBytes).has_value());
  ASSERT_TRUE(file_->sync_data().has_value());
  std::vector<std::byte> expected(8 * kBlockBytes);
  std::ranges::copy(bytes.bytes(), expected.begin());
  Buffer back = Buffer::allocate(expected.size());
  EXPECT_EQ(*read(*file_, 0, back.bytes()), expected.size());
  EXPECT_TRUE(std::ranges::equal(back.bytes(), expected));
}

TEST_P(IoQueueConformanceTest, ACallbackMayStartTheNextOperation) {
  const Buffer bytes = pattern(1);
  const std::span<const std::byte> piece = bytes.bytes();
  std::function<void(std::uint64_t)> write_block = [&](std::uint64_t block) {
    world_->queue().write(*file_, FilePosition(block * kBlockBytes), {&piece, 1},
                          Durability::kDurable, [&, block](const Result<>& result) {
                            note(result);
                            if (block < 9) write_block(block + 1);
                          });
  };
  write_block(0);
  run_until_ended(10);
  EXPECT_EQ(*file_->size(), 10 * kBlockBytes);
}

TEST_P(IoQueueConformanceTest, AQueueThatEndsDropsItsCallbacksAndLeavesTheMemoryAlone) {
  {
    const Buffer bytes = pattern(256);
    Buffer into = Buffer::allocate(256 * kBlockBytes);
    write(0, bytes.bytes());
    world_->queue().read(*file_, FilePosition(0), into.bytes(),
                         [this](const Result<std::size_t>& result) { note(result); });
    world_->queue().submit();
    write(300, bytes.bytes());  // never submitted
    world_->end_queue();
  }
  world_->run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(ended_, 0);
}

TEST_P(IoQueueConformanceTest, AQueueMayEndInsideACallback) {
  const Buffer bytes = pattern(2);
  Buffer into = Buffer::allocate(kBlockBytes);
  bool first = false;
  const std::span<const std::byte> piece = bytes.bytes();
  world_->queue().write(*file_, FilePosition(0), {&piece, 1}, Durability::kPlain,
                        [&](const Result<>&) {
                          EXPECT_FALSE(first);
                          first = true;
                          world_->end_queue();
                        });
  world_->queue().read(*file_, FilePosition(1 << 20), into.bytes(),
                       [](const Result<std::size_t>&) {});
  world_->run_until([&] { return first; });
}

TEST_P(IoQueueConformanceTest, SaysHowItWorks) {
  EXPECT_FALSE(world_->queue().description().empty());
}

using IoQueueConformanceDeathTest = IoQueueConformanceTest;

TEST_P(IoQueueConformanceDeathTest, UnalignedRequestsAreRefused) {
  GTEST_FLAG_SET(death_test_style, "fast");
  Buffer bytes = pattern(2);
  const auto write_at = [&](std::uint64_t position, std::span<const std::byte> piece) {
    world_->queue().write(*file_, FilePosition(position), {&piece, 1}, Durability::kPlain,
                          [](const Result<>&) {});
  };
  EXPECT_DEATH(write_at(100, bytes.bytes()), "begins inside a block");
  EXPECT_DEATH(write_at(0, bytes.bytes().first(100)), "unaligned length");
  EXPECT_DEATH(write_at(0, bytes.bytes().first(512)), "ends inside a block");
  EXPECT_DEATH(write_at(0, bytes.bytes().subspan(512, kBlockBytes)), "unaligned address");
  EXPECT_DEATH(world_->queue().read(*file_, FilePosition(0), bytes.bytes().first(100),
                                    [](const Result<std::size_t>&) {}),
               "unaligned length");
  file_ = open(OpenMode::kRead);
  EXPECT_DEATH(write_at(0, bytes.bytes()), "open for reading");
}

INSTANTIATE_TEST_SUITE_P(Worlds, IoQueueConformanceTest,
                         ::testing::Values(World::kRingDirect, World::kRingFdatasync,
                                           World::kRingBuffered, World::kThreadsDirect,
                                           World::kThreadsBuffered, World::kSimulated),
                         [](const auto& param) { return to_string(param.param); });
INSTANTIATE_TEST_SUITE_P(Worlds, IoQueueConformanceDeathTest,
                         ::testing::Values(World::kRingDirect, World::kThreadsDirect,
                                           World::kSimulated),
                         [](const auto& param) { return to_string(param.param); });

}  // namespace
}  // namespace tidelog::log::io
