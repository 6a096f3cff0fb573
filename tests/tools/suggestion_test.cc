#include "tools/suggestion.h"

#include <gtest/gtest.h>

#include "tools/partition_list.h"
#include "tools/quantity.h"

namespace tidelog::tools {
namespace {

TEST(SuggestionTest, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("produce", "prodcue"), 1);
  EXPECT_EQ(edit_distance("abc", "abc"), 0);
}

TEST(SuggestionTest, NamesTheNearestFirst) {
  const std::vector<std::string> known{"produce", "consume", "topic", "broker", "log"};
  EXPECT_EQ(did_you_mean("prodcue", known), "; did you mean 'produce'?");
  EXPECT_EQ(did_you_mean("cons", known), "; did you mean 'consume'?");
  EXPECT_EQ(did_you_mean("zzzzzz", known), "");
  EXPECT_EQ(did_you_mean("ab", known), "");
  EXPECT_EQ(closest("a1", std::vector<std::string>{"a2", "a3", "a4", "a5"}).size(), 3U);
}

TEST(PartitionListTest, TakesNumbersAndRanges) {
  EXPECT_EQ(*parse_partitions("0"), std::vector<std::int32_t>{0});
  EXPECT_EQ(*parse_partitions("7,0-2,1"), (std::vector<std::int32_t>{0, 1, 2, 7}));
  for (const char* text : {"", "a", "1,", "-1", "3-1", "1-", "0-2000000000", "1 2"}) {
    EXPECT_FALSE(parse_partitions(text)) << text;
  }
}

TEST(QuantityTest, ReadsAsPeopleWrite) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(counted(1, "record"), "1 record");
  EXPECT_EQ(counted(1000, "record"), "1,000 records");
  EXPECT_EQ(byte_amount(1023), "1023 B");
  EXPECT_EQ(byte_amount(1536), "1.5 KiB");
  EXPECT_EQ(byte_amount(3ULL << 30), "3.0 GiB");
}

}  // namespace
}  // namespace tidelog::tools
