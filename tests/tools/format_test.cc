#include "tools/format.h"

#include <gtest/gtest.h>

namespace tidelog::tools {
namespace {

using namespace std::string_literals;

std::string print(std::string_view format_text, const RecordFields& record) {
  const auto format = Format::parse(format_text);
  EXPECT_TRUE(format) << format_text;
  std::string out;
  if (format) format->print(record, out);
  return out;
}

RecordFields example() {
  return {.topic = "events",
          .partition = 3,
          .offset = 42,
          .timestamp_ms = 1700000000123,
          .key = "k1",
          .value = "the value",
          .headers = {{"a", "1"}, {"b", std::nullopt}}};
}

TEST(FormatTest, PrintsEveryField) {
  EXPECT_EQ(print("%t %p %o %d %k %v %s %K %V %h\\n", example()),
            "events 3 42 1700000000123 k1 the value the value 2 9 a=1,b=\n");
}

TEST(FormatTest, PrintsEscapesAndPercentSigns) {
  EXPECT_EQ(print("100%%\\t\\0\\x41\\\\", example()), "100%\t\0A\\"s);
}

TEST(FormatTest, PrintsNothingForANullAndTellsItByItsLength) {
  RecordFields record = example();
  record.key.reset();
  record.value.reset();
  record.headers.clear();
  EXPECT_EQ(print("[%k][%v][%k{hex}][%v{base64}][%h]", record), "[][][][][]");
  EXPECT_EQ(print("%K %V", record), "-1 -1");
  EXPECT_EQ(print("%k{json} %v{json} %h{json}", record), "null null []");
}

TEST(FormatTest, AppliesModifiers) {
  RecordFields record = example();
  record.value = "\xff\n";
  EXPECT_EQ(print("%v{hex} %v{base64} %v{json} %k{json}", record),
            "ff0a /wo= {\"base64\":\"/wo=\"} \"k1\"");
  EXPECT_EQ(print("%h{json}", record), R"([{"key":"a","value":"1"},{"key":"b","value":null}])");
}

TEST(FormatTest, NamesWhatItDoesNotUnderstand) {
  const std::pair<const char*, const char*> examples[] = {
      {"%x", "%x"},         {"%", "'%'"},       {"%v{foo}", "{foo}"}, {"%p{hex}", "{hex}"},
      {"%h{hex}", "{hex}"}, {"%v{hex", "{hex"}, {"\\q", "\\q"},       {"", "empty"}};
  for (const auto& [text, part] : examples) {
    const auto format = Format::parse(text);
    ASSERT_FALSE(format) << text;
    EXPECT_EQ(format.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(format.error().message().find(part), std::string::npos) << format.error().message();
  }
}

TEST(FormatTest, EndsWithANewlineOnlyOnce) {
  for (const char* text : {"%v", "%v\\n", "%v \\n", "x"}) {
    auto format = Format::parse(text);
    ASSERT_TRUE(format);
    format->end_with_newline();
    std::string out;
    format->print(example(), out);
    EXPECT_TRUE(out.ends_with('\n') && !out.ends_with("\n\n")) << text;
  }
}

}  // namespace
}  // namespace tidelog::tools
