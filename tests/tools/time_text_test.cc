#include "tools/time_text.h"

#include <gtest/gtest.h>

namespace tidelog::tools {
namespace {

std::int64_t time_of(std::string_view text) {
  const auto read = read_rfc3339(text);
  EXPECT_TRUE(read) << text;
  if (!read) return -1;
  EXPECT_EQ(read->length, text.size()) << text;
  return read->unix_ms;
}

TEST(Rfc3339Test, CountsFromTheEpoch) {
  EXPECT_EQ(time_of("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(time_of("2001-09-09T01:46:40Z"), 1'000'000'000'000);
  EXPECT_EQ(time_of("1969-12-31T23:59:59.999Z"), -1);
  EXPECT_EQ(time_of("2038-01-19T03:14:08Z"), 2'147'483'648'000);
}

TEST(Rfc3339Test, TakesZonesOnBothSidesOfUtc) {
  EXPECT_EQ(time_of("1970-01-01T01:00:00+01:00"), 0);
  EXPECT_EQ(time_of("1969-12-31T18:30:00-05:30"), 0);
  EXPECT_EQ(time_of("1970-01-01T00:00:00-00:00"), 0);
  EXPECT_EQ(time_of("1970-01-01T23:59:00+23:59"), 0);
}

TEST(Rfc3339Test, TakesTheLooserSpellingsThatTheStandardAllows) {
  EXPECT_EQ(time_of("1970-01-01t00:00:01z"), 1000);
  EXPECT_EQ(time_of("1970-01-01 00:00:01Z"), 1000);
}

TEST(Rfc3339Test, CutsFractionsBelowAMillisecond) {
  EXPECT_EQ(time_of("1970-01-01T00:00:00.5Z"), 500);
  EXPECT_EQ(time_of("1970-01-01T00:00:00.05Z"), 50);
  EXPECT_EQ(time_of("1970-01-01T00:00:00.0009999999Z"), 0);
  EXPECT_EQ(time_of("1970-01-01T00:00:00.123456789Z"), 123);
}

TEST(Rfc3339Test, KnowsLeapYearsAndLeapSeconds) {
  EXPECT_EQ(time_of("2024-02-29T00:00:00Z"), 1'709'164'800'000);
  EXPECT_EQ(time_of("2000-02-29T00:00:00Z"), 951'782'400'000);
  EXPECT_FALSE(read_rfc3339("2023-02-29T00:00:00Z"));
  EXPECT_FALSE(read_rfc3339("1900-02-29T00:00:00Z"));
  EXPECT_EQ(time_of("2016-12-31T23:59:60Z"), time_of("2017-01-01T00:00:00Z"));
  EXPECT_EQ(time_of("2016-12-31T23:59:60.9Z"), time_of("2017-01-01T00:00:00Z"));
}

TEST(Rfc3339Test, TakesADateAsItsMidnight) {
  EXPECT_EQ(time_of("2024-01-31"), time_of("2024-01-31T00:00:00Z"));
}

TEST(Rfc3339Test, SaysHowMuchItRead) {
  EXPECT_EQ(read_rfc3339("2024-01-31:end")->length, 10U);
  EXPECT_EQ(read_rfc3339("2024-01-31T10:00:00Z:2025-01-01")->length, 20U);
}

TEST(Rfc3339Test, RefusesFieldsOutOfRange) {
  for (const char* text : {"2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z", "2024-01-32T00:00:00Z",
                           "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z",
                           "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+00:60",
                           "2024-01-01T00:00:00", "2024-01-01T00:00Z", "2024-01-01T00:00:00.Z",
                           "24-01-01", "2024-1-1", "", "1700000000000", "2024-01-01T"}) {
    EXPECT_FALSE(read_rfc3339(text)) << text;
  }
}

TEST(DurationTest, AddsUnits) {
  using std::chrono::milliseconds;
  EXPECT_EQ(*parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(*parse_duration("2m"), milliseconds(120'000));
  EXPECT_EQ(*parse_duration("1h30m"), milliseconds(5'400'000));
  EXPECT_EQ(*parse_duration("1d2h3m4s5ms"), milliseconds(93'784'005));
}

TEST(DurationTest, RefusesWhatHasNoUnitOrIsTooLong) {
  for (const char* text : {"", "5", "h", "5 s", "5x", "1h5", "-1h", "99999999999999999999s",
                           "9223372036854775807d", "200000d"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

}  // namespace
}  // namespace tidelog::tools
