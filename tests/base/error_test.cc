#include "base/error.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>

#include "base/result.h"

namespace tidelog {
namespace {

TEST(ErrorTableTest, NamesEachNumberOnceAndTellsAPersonWhatToDo) {
  std::set<std::string_view> names;
  int number_before = -1;
  for (const ErrorInfo& info : error_table()) {
    const int number = static_cast<int>(info.code);
    EXPECT_GT(number, number_before) << "numbers rise";
    number_before = number;
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    for (const char c : info.name) {
      EXPECT_TRUE(std::isupper(static_cast<unsigned char>(c)) != 0 || c == '_') << info.name;
    }
    EXPECT_EQ(&error_info(info.code), &info);
    EXPECT_EQ(info.hint.empty(), info.code == ErrorCode::kOk) << info.name;
    EXPECT_FALSE(info.hint.ends_with('.')) << info.name;
  }
}

TEST(ErrorTableTest, GivesUpOnANumberOfANewerPeer) {
  const ErrorInfo& unknown = error_info(static_cast<ErrorCode>(9999));
  EXPECT_EQ(unknown.name, "UNKNOWN_ERROR");
  EXPECT_EQ(unknown.action, ErrorAction::kGiveUp);
  EXPECT_FALSE(Error(static_cast<ErrorCode>(9999), "x").retriable());
}

TEST(ErrorTableTest, NeverRetriesCorruptionOrAnUnknownOutcome) {
  for (const ErrorCode code : {ErrorCode::kCorruptData, ErrorCode::kLostData,
                               ErrorCode::kUnknownOutcome, ErrorCode::kStorageFailed}) {
    EXPECT_FALSE(Error(code, "x").retriable()) << error_info(code).name;
  }
}

TEST(ErrorTest, CarriesItsContextIntoItsText) {
  const Error error =
      Error(ErrorCode::kUnknownTopic, "it does not exist").with_context("topic 'x'");
  EXPECT_EQ(error.code(), ErrorCode::kUnknownTopic);
  EXPECT_EQ(error.to_string(), "UNKNOWN_TOPIC: topic 'x': it does not exist");
}

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorCode::kInvalidArgument, "odd");
  return value / 2;
}
Result<int> quarter(int value) {
  TIDELOG_TRY(half(value));
  TIDELOG_ASSIGN(const int once, half(value));
  return half(once);
}

TEST(ResultTest, PassesErrorsOn) {
  EXPECT_EQ(quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message(), "odd");
  EXPECT_EQ(quarter(3).error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tidelog
