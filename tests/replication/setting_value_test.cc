#include "replication/setting_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidelog::replication {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kNames[] = {"orders", "payments", "order-items", "users"};

TEST(SettingValueTest, ReadsIntegersWithinTheirBounds) {
  EXPECT_EQ(*parse_integer("s", "42", 0, 42), 42);
  for (const char* bad : {"", "43", "-1", "4x", " 4", "+4", "99999999999999999999", "4.0"}) {
    const auto refused = parse_integer("s", bad, 0, 42);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidSetting);
    EXPECT_THAT(refused.error().message(), HasSubstr("s must be"));
  }
}

TEST(SettingValueTest, ReadsByteSizesWithUnits) {
  EXPECT_EQ(*parse_byte_size("s", "1024", 0, 1 << 30), 1024);
  EXPECT_EQ(*parse_byte_size("s", "64KiB", 0, 1 << 30), 64 << 10);
  EXPECT_EQ(*parse_byte_size("s", "3MiB", 0, 1 << 30), 3 << 20);
  EXPECT_EQ(*parse_byte_size("s", "1GiB", 0, 1 << 30), 1 << 30);
  for (const char* bad : {"", "KiB", "-1KiB", "64KB", "64 KiB", "2GiB", "9223372036854775807GiB"}) {
    EXPECT_FALSE(parse_byte_size("s", bad, 0, 1 << 30)) << bad;
  }
}

TEST(SettingValueTest, ReadsBooleansAndChoices) {
  EXPECT_TRUE(*parse_boolean("s", "true"));
  EXPECT_FALSE(*parse_boolean("s", "false"));
  EXPECT_FALSE(parse_boolean("s", "yes").has_value());
  EXPECT_EQ(*parse_choice("s", "users", kNames), 3u);
  EXPECT_THAT(parse_choice("s", "x", kNames).error().message(),
              HasSubstr("orders, payments, order-items, users"));
}

TEST(SettingValueTest, CountsEditsOfAllFourKinds) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("abc", "abxc"), 1u);
  EXPECT_EQ(edit_distance("abc", "ac"), 1u);
  EXPECT_EQ(edit_distance("abc", "axc"), 1u);
  EXPECT_EQ(edit_distance("abc", "acb"), 1u);
  EXPECT_EQ(edit_distance("ABC", "abc"), 0u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(SettingValueTest, NamesTheClosestFirstAndNothingFarAway) {
  EXPECT_THAT(closest_names("ordres", kNames, 3), ElementsAre("orders"));
  EXPECT_THAT(closest_names("Orders", kNames, 3), ElementsAre("orders"));
  EXPECT_THAT(closest_names("user", kNames, 3), ElementsAre("users"));
  EXPECT_THAT(closest_names("order-item", kNames, 3), ElementsAre("order-items"));
  EXPECT_THAT(closest_names("something else", kNames, 3), IsEmpty());
  EXPECT_THAT(closest_names("", kNames, 3), IsEmpty());
  constexpr std::string_view kMany[] = {"t4", "t3", "t2", "t1"};
  EXPECT_THAT(closest_names("t", kMany, 2), ElementsAre("t1", "t2"));
}

// Comparing two names takes time in proportion to the distance that is looked for, and a broker
// compares with all its topics.
TEST(SettingValueTest, LooksNoFurtherThanAFewEditsHoweverLongTheName) {
  const std::string name(240, 'n');
  const std::string near = std::string(236, 'n') + "xxxx";
  const std::string far = std::string(235, 'n') + "xxxxx";
  const std::vector<std::string_view> known = {far, near};
  EXPECT_THAT(closest_names(name, known, 3), ElementsAre(near));
}

TEST(SettingValueTest, PutsSuggestionsIntoASentence) {
  const std::vector<std::string> names = {"a", "b", "c"};
  EXPECT_EQ(did_you_mean({}), "");
  EXPECT_EQ(did_you_mean(std::span(names).first(1)), "; did you mean 'a'?");
  EXPECT_EQ(did_you_mean(names), "; did you mean 'a', 'b' or 'c'?");
}

}  // namespace
}  // namespace tidelog::replication
