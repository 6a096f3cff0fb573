#include "tools/format_reader.h"

#include <gtest/gtest.h>

namespace tidelog::tools {
namespace {

using namespace std::string_literals;

FormatReader reader(std::string_view format_text) {
  auto format = Format::parse(format_text);
  EXPECT_TRUE(format) << format_text;
  auto made = FormatReader::make(std::move(*format));
  EXPECT_TRUE(made) << format_text << ": " << (made ? "" : made.error().message());
  return std::move(*made);
}

// Reads all of `input`, handing it over in pieces that grow byte by byte.
std::vector<ParsedRecord> read_all(std::string_view format_text, std::string_view input) {
  const FormatReader made = reader(format_text);
  std::vector<ParsedRecord> records;
  std::size_t begin = 0;
  std::size_t end = 0;
  while (begin < input.size()) {
    ParsedRecord record;
    const auto length = made.read(input.substr(begin, end - begin), end == input.size(), record);
    EXPECT_TRUE(length) << (length ? "" : length.error().message());
    if (!length) return records;
    if (*length) {
      records.push_back(std::move(record));
      begin += **length;
      end = begin;
    } else {
      ++end;
      EXPECT_LE(end, input.size());
      if (end > input.size()) return records;
    }
  }
  return records;
}

std::string refusal(std::string_view format_text, std::string_view input) {
  ParsedRecord record;
  const auto length = reader(format_text).read(input, /*at_end=*/true, record);
  EXPECT_FALSE(length) << input;
  return length ? "" : length.error().message();
}

TEST(FormatReaderTest, ReadsLines) {
  const auto records = read_all("%v\\n", "one\n\nthree");
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].value, "one");
  EXPECT_EQ(records[1].value, "");
  EXPECT_EQ(records[2].value, "three");
  EXPECT_FALSE(records[0].key);
}

TEST(FormatReaderTest, EndsARecordAtTheLineWhereTheFormatDoesNot) {
  const auto records = read_all("%k=%v", "a=1\nb=2\n");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].key, "b");
  EXPECT_EQ(records[1].value, "2");
}

TEST(FormatReaderTest, ReadsBackEverythingThatIsPrintedWithLengths) {
  const std::string text = "%p %d %K %V %h{json} %k%v";
  std::vector<RecordFields> written{
      {"t", 1, 0, 5, "key", "value", {{"h", "x"}, {"n", std::nullopt}}},
      {"t", 2, 1, -7, std::nullopt, std::nullopt, {}},
      {"t", 3, 2, 0, "", "", {}},
      {"t", 0, 3, 9, "a b\n%", "lines\n\0and ]}\"nulls\xff"s, {{"\"]", "{["}}}};
  // The views above must outlive their record; this one does not otherwise.
  const std::string binary = "lines\n\0and ]}\"nulls\xff"s;
  written[3].value = binary;
  std::string input;
  for (const RecordFields& record : written) Format::parse(text)->print(record, input);
  const auto read = read_all(text, input);
  ASSERT_EQ(read.size(), written.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].partition, written[i].partition);
    EXPECT_EQ(read[i].timestamp_ms, written[i].timestamp_ms);
    EXPECT_EQ(read[i].key, written[i].key) << i;
    EXPECT_EQ(read[i].value, written[i].value) << i;
    ASSERT_EQ(read[i].headers.size(), written[i].headers.size());
    for (std::size_t h = 0; h < read[i].headers.size(); ++h) {
      EXPECT_EQ(read[i].headers[h].key, written[i].headers[h].key);
      EXPECT_EQ(read[i].headers[h].value, written[i].headers[h].value);
    }
  }
}

TEST(FormatReaderTest, DecodesModifiers) {
  const auto records = read_all("%k{hex} %v{base64}|%h\\n", "6b31 Zm9v|a=1,b=\n /wo=|\n");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].key, "k1");
  EXPECT_EQ(records[0].value, "foo");
  ASSERT_EQ(records[0].headers.size(), 2U);
  EXPECT_EQ(records[0].headers[1].value, "");
  EXPECT_FALSE(records[1].key);
  EXPECT_EQ(records[1].value, "\xff\n");
}

TEST(FormatReaderTest, ReadsJsonBytesAndNulls) {
  const auto records = read_all("%k{json}%v{json}", R"(null"a\n")"
                                                    R"("k"{"base64":"/wo="})"
                                                    R"("k"null)");
  ASSERT_EQ(records.size(), 3U);
  EXPECT_FALSE(records[0].key);
  EXPECT_EQ(records[0].value, "a\n");
  EXPECT_EQ(records[1].value, "\xff\n");
  EXPECT_FALSE(records[2].value);
}

TEST(FormatReaderTest, TakesALongSeparatorWhoseEndIsCutOff) {
  const auto records = read_all("%v\\n--\\n", "one\n--\ntwo\n--");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].value, "two");
}

TEST(FormatReaderTest, RefusesInputThatDoesNotLookLikeTheFormat) {
  struct Example {
    const char* format;
    const char* input;
    const char* message;
  };
  const Example examples[] = {
      {"%p %v\\n", "x 1\n", "\"x\" is no %p"},
      {"#%v\\n", "1\n", "expected \"#\""},
      {"%v{hex}\\n", "0g\n", "is not hex"},
      {"%V %v", "5 abc", "ends inside"},
      {"%v{hex} %V\\n", "00 2\n", "%V says 2"},
      {"%V %v", "99999999999999 x", "is no %V"},
      {"%V %v", "-2 x", "is no %V"},
      {"%p %v\\n", "-1 x\n", "is no %p"},
      {"%h|%v\\n", "nothing|x\n", "has no '='"},
      {"%h{json}%v\\n", "{}x\n", "no JSON array"},
      {"%v{json}\\n", "5\n", "no JSON"},
      {"%v{json}\\n", "{\"base64\":\"*\"}\n", "base64 is malformed"},
  };
  for (const Example& example : examples) {
    EXPECT_NE(refusal(example.format, example.input).find(example.message), std::string::npos)
        << refusal(example.format, example.input);
  }
}

TEST(FormatReaderTest, RefusesFormatsWhoseRecordsCannotBeToldApart) {
  for (const char* text : {"%k%v", "%p%v\\n", "%v%p\\n", "%p0%v\\n", "just text", "%v %v\\n"}) {
    auto format = Format::parse(text);
    ASSERT_TRUE(format);
    EXPECT_FALSE(FormatReader::make(std::move(*format))) << text;
  }
}

}  // namespace
}  // namespace tidelog::tools
