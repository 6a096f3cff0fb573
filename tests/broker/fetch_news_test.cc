#include "broker/fetch_news.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace tidelog::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class FetchNewsTest : public ::testing::Test {
 protected:
  static TopicPartition partition(int index) { return {TopicId{}, PartitionIndex(index)}; }
  void read(int index, std::int64_t from, std::int64_t to, std::size_t bytes) {
    FetchChunk chunk;
    chunk.id = partition(index);
    chunk.first_offset = Offset(from);
    chunk.next_offset = Offset(to);
    chunk.bytes = bytes;
    chunk.hold = budget_.take_anyway(bytes);
    news_.add(std::move(chunk));
  }
  void fail(int index, std::string message = "it was deleted") {
    FetchChunk chunk;
    chunk.id = partition(index);
    chunk.error = Error(ErrorCode::kUnknownTopic, std::move(message));
    news_.add(std::move(chunk));
  }
  // "0:5-8" is partition 0 from offset 5 to 8, "0!" an error of it.
  std::vector<std::string> take(std::size_t bytes_max) {
    std::vector<std::string> all;
    for (const FetchChunk& chunk : news_.take(bytes_max).chunks) {
      const std::string index = std::to_string(chunk.id.partition.value());
      all.push_back(chunk.error ? index + "!"
                                : index + ":" + std::to_string(chunk.first_offset.value()) + "-" +
                                      std::to_string(chunk.next_offset.value()));
    }
    return all;
  }

  MemoryBudget budget_{1 << 20};
  FetchNews news_;
};

TEST_F(FetchNewsTest, AnAnswerHasOneResultAPartitionWhoseBatchesGoOn) {
  read(0, 5, 8, 100);
  read(1, 0, 1, 100);
  read(0, 8, 9, 100);
  EXPECT_EQ(news_.bytes(), 300U);
  EXPECT_THAT(take(10'000), ElementsAre("0:5-9", "1:0-1"));
  EXPECT_TRUE(news_.empty());
  EXPECT_EQ(news_.bytes(), 0U);
  EXPECT_EQ(budget_.used(), 0U) << "what nobody sends gives its memory back";
}

TEST_F(FetchNewsTest, WhatDoesNotFitComesNextAndTheFirstAlwaysFits) {
  read(0, 0, 1, 5'000);
  read(1, 0, 1, 5'000);
  read(0, 1, 2, 100);
  EXPECT_THAT(take(1), ElementsAre("0:0-1"));
  EXPECT_EQ(news_.bytes(), 5'100U);
  EXPECT_EQ(budget_.used(), 5'100U);
  EXPECT_THAT(take(10'000), ElementsAre("1:0-1", "0:1-2"));
}

TEST_F(FetchNewsTest, AnErrorWaitsForTheNextAnswerBehindBatchesOfItsPartition) {
  read(0, 0, 1, 100);
  fail(0);
  read(1, 0, 1, 100);
  EXPECT_TRUE(news_.has_error());
  EXPECT_THAT(take(10'000), ElementsAre("0:0-1"));
  EXPECT_TRUE(news_.has_error());
  EXPECT_THAT(take(10'000), ElementsAre("0!", "1:0-1"));
  EXPECT_FALSE(news_.has_error());
}

// Thousands of partitions may fail at once.
TEST_F(FetchNewsTest, ErrorsTakeRoomInAnAnswerToo) {
  for (int i = 0; i < 10; ++i) fail(i, std::string(1'000, 'x'));
  EXPECT_THAT(take(5'000), SizeIs(4));
  EXPECT_THAT(take(100'000), SizeIs(6));
}

TEST_F(FetchNewsTest, WhatAClientLeavesIsForgottenWithItsErrors) {
  read(0, 0, 1, 100);
  fail(1);
  read(2, 0, 1, 100);
  news_.drop({partition(0), partition(1)});
  EXPECT_FALSE(news_.has_error());
  EXPECT_EQ(news_.bytes(), 100U);
  EXPECT_EQ(budget_.used(), 100U);
  EXPECT_THAT(take(10'000), ElementsAre("2:0-1"));
}

}  // namespace
}  // namespace tidelog::broker
