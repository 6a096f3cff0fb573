// Histories that programs write as lines of JSON.
#include "tests/history/history_lines.h"

#include <gtest/gtest.h>

namespace tidelog::history {
namespace {

std::vector<Complaint> check(std::initializer_list<const char*> lines) {
  Checker checker;
  for (const char* line : lines) {
    const auto applied = apply_line(checker, line);
    EXPECT_TRUE(applied) << line << ": " << applied.error().message();
  }
  return checker.complaints();
}

TEST(HistoryLinesTest, TakesEveryEvent) {
  const auto complaints = check(
      {R"({"event": "send", "producer": "p1", "values": ["a", "b", "c"]})",
       R"({"event": "send", "producer": "p1", "value": "d"})",
       R"({"event": "acknowledged", "partition": "0", "offset": 7, "values": ["a", "b"]})",
       R"({"event": "failed", "values": ["c"]})",
       R"({"event": "assign", "consumer": "c1", "partition": "0", "offset": 7})",
       R"({"event": "polled", "consumer": "c1", "partition": "0", "offset": 7, "value": "a"})",
       R"({"event": "polled", "consumer": "c1", "partition": "0", "offset": 8, "value": "b"})",
       R"({"event": "may_trim", "partition": "0", "offset": 8})",
       R"({"event": "may_cut", "partition": "0", "offset": 8})",
       R"({"event": "cut", "partition": "0", "offset": 8})",
       R"({"event": "ended", "partition": "0", "offset": 8})"});
  EXPECT_TRUE(complaints.empty()) << complaints.front().to_string();
}

TEST(HistoryLinesTest, SeveralValuesLieBehindEachOther) {
  const auto complaints =
      check({R"({"event": "send", "producer": "p1", "values": ["a", "b"]})",
             R"({"event": "acknowledged", "partition": "0", "offset": 7, "values": ["a", "b"]})",
             R"({"event": "ended", "partition": "0", "offset": 8})"});
  ASSERT_FALSE(complaints.empty());
  EXPECT_EQ(complaints.front().anomaly, Anomaly::kLostWrite);
  EXPECT_EQ(complaints.front().offset, 8);
}

TEST(HistoryLinesTest, RefusesWhatIsNoEvent) {
  Checker checker;
  for (const char* line :
       {"", "{", "7", "{}", R"({"event": "sned", "partition": "0", "offset": 0})",
        R"({"event": "send", "producer": "p1"})",
        R"({"event": "send", "producer": 7, "values": []})",
        R"({"event": "send", "producer": "p1", "values": [7]})",
        R"({"event": "ended", "partition": "0", "offset": "7"})",
        R"({"event": "ended", "partition": "0", "offset": -1})",
        R"({"event": "acknowledged", "partition": "0", "offset": 7, "value": "new"})"}) {
    EXPECT_FALSE(apply_line(checker, line)) << line;
  }
}

}  // namespace
}  // namespace tidelog::history
