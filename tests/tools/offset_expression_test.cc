#include "tools/offset_expression.h"

#include <gtest/gtest.h>

namespace tidelog::tools {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;
using Kind = OffsetBound::Kind;

OffsetRange parse(std::string_view text) {
  auto range = parse_offset_range(text, kNow);
  EXPECT_TRUE(range) << text << ": " << (range ? "" : range.error().message());
  return range.value_or(OffsetRange{});
}
OffsetRange from(Kind kind, std::int64_t value) { return {OffsetBound{kind, value}, std::nullopt}; }
OffsetRange between(OffsetBound begin, OffsetBound end) { return {begin, end}; }

TEST(OffsetExpressionTest, KnowsWordsOfThisToolAndOfOthers) {
  for (const char* word : {"start", "beginning", "earliest"}) {
    EXPECT_EQ(parse(word), from(Kind::kStart, 0)) << word;
  }
  for (const char* word : {"end", "latest"}) EXPECT_EQ(parse(word), from(Kind::kEnd, 0)) << word;
}

TEST(OffsetExpressionTest, TellsAbsoluteFromRelativeNumbers) {
  EXPECT_EQ(parse("0"), from(Kind::kOffset, 0));
  EXPECT_EQ(parse("9223372036854775807"), from(Kind::kOffset, INT64_MAX));
  EXPECT_EQ(parse("-5"), from(Kind::kEnd, 5));
  EXPECT_EQ(parse("+5"), from(Kind::kStart, 5));
  EXPECT_EQ(parse("-0"), from(Kind::kEnd, 0));
}

TEST(OffsetExpressionTest, RefusesWhatEndsBeforeItBegins) {
  for (const char* text : {"5:3", "-5:-10", "+3:+2", "@2000:1000", "@-1h:-2h", "end:-1"}) {
    EXPECT_FALSE(parse_offset_range(text, kNow)) << text;
  }
  for (const char* text : {"5:5", "-5:-5", "end:end", "@-1h:-1h", "5:+3", "-5:3", "@1000:+7"}) {
    EXPECT_TRUE(parse_offset_range(text, kNow)) << text;
  }
  EXPECT_FALSE(join_offset_ranges(parse("5"), parse(":3")));
  EXPECT_TRUE(join_offset_ranges(parse("5"), parse(":+3")));
}

TEST(OffsetExpressionTest, TakesRanges) {
  EXPECT_EQ(parse("3:7"), between({Kind::kOffset, 3}, {Kind::kOffset, 7}));
  EXPECT_EQ(parse("start:end"), between({Kind::kStart, 0}, {Kind::kEnd, 0}));
  EXPECT_EQ(parse("-10:-5"), between({Kind::kEnd, 10}, {Kind::kEnd, 5}));
  EXPECT_EQ(parse("+1:@5"), between({Kind::kStart, 1}, {Kind::kTime, 5}));
  EXPECT_EQ(parse(":end"), (OffsetRange{std::nullopt, OffsetBound{Kind::kEnd, 0}}));
  EXPECT_EQ(parse(":9"), (OffsetRange{std::nullopt, OffsetBound{Kind::kOffset, 9}}));
}

TEST(OffsetExpressionTest, TakesTimes) {
  EXPECT_EQ(parse("@1234"), from(Kind::kTime, 1234));
  EXPECT_EQ(parse("@1970-01-01T00:00:01Z"), from(Kind::kTime, 1000));
  EXPECT_EQ(parse("@1970-01-02"), from(Kind::kTime, 86'400'000));
  EXPECT_EQ(parse("@-1h"), from(Kind::kTime, kNow - 3'600'000));
}

TEST(OffsetExpressionTest, TakesRangesOfTimesThoughTimesHoldColons) {
  const auto hour = between({Kind::kTime, 0}, {Kind::kTime, 3'600'000});
  EXPECT_EQ(parse("@1970-01-01T00:00:00Z:1970-01-01T01:00:00Z"), hour);
  EXPECT_EQ(parse("@1970-01-01T00:00:00Z:@1970-01-01T01:00:00Z"), hour);
  EXPECT_EQ(parse("@0:3600000"), hour);
  EXPECT_EQ(parse("@-2h:-1h"),
            between({Kind::kTime, kNow - 7'200'000}, {Kind::kTime, kNow - 3'600'000}));
  EXPECT_EQ(parse("@5:end"), between({Kind::kTime, 5}, {Kind::kEnd, 0}));
}

TEST(OffsetExpressionTest, RefusesWhatItDoesNotKnowAndShowsWhatThereIs) {
  for (const char* text : {"", "x", "1:", "1:2:3", "@", "@x", "@1:", "1.5", "--1", "+-1", "+", "-",
                           "9223372036854775808", "stored", "@5x", "@+1h", " 1", "s@", "s@5:6"}) {
    const auto range = parse_offset_range(text, kNow);
    ASSERT_FALSE(range) << text;
    EXPECT_EQ(range.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(range.error().message().find(":end"), std::string::npos);
  }
}

TEST(OffsetExpressionTest, JoinsTwoOptionsAsKcatWritesThem) {
  const auto joined = join_offset_ranges(parse("s@5"), parse("e@9"));
  ASSERT_TRUE(joined);
  EXPECT_EQ(*joined, between({Kind::kTime, 5}, {Kind::kTime, 9}));
  EXPECT_FALSE(join_offset_ranges(parse("1"), parse("2")));
  EXPECT_FALSE(join_offset_ranges(parse(":1"), parse("e@2")));
}

}  // namespace
}  // namespace tidelog::tools
