#include "tools/json_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace tidelog::tools {
namespace {

TEST(JsonRecordTest, HasTheShapeThatIsPromised) {
  const RecordFields record{.topic = "t",
                            .partition = 1,
                            .offset = 2,
                            .timestamp_ms = 3,
                            .key = std::nullopt,
                            .value = "\xff",
                            .headers = {{"h", "x"}, {"n", std::nullopt}}};
  std::string text;
  append_json_record(record, text);
  EXPECT_EQ(text, R"({"topic":"t","partition":1,"offset":2,"timestamp_ms":3,"key":null,)"
                  R"("value":{"base64":"/w=="},"headers":[{"key":"h","value":"x"},)"
                  R"({"key":"n","value":null}]})");
  EXPECT_TRUE(nlohmann::json::accept(text));
}

TEST(JsonRecordTest, FindsWhereAValueEnds) {
  EXPECT_EQ(**json_value_length(R"("a\"b"x)"), 6U);
  EXPECT_EQ(**json_value_length(R"({"a":"}"}x)"), 9U);
  EXPECT_EQ(**json_value_length("[[],[{}]]x"), 9U);
  EXPECT_EQ(**json_value_length("nullx"), 4U);
  EXPECT_EQ(**json_value_length("null"), 4U);
  for (const char* open : {"", "\"", "\"a\\", "\"a\\\"", "{", "[\"]", "nul"}) {
    const auto length = json_value_length(open);
    ASSERT_TRUE(length) << open;
    EXPECT_FALSE(*length) << open;
  }
  for (const char* other : {"5", "true", "x", "nulx", "]"}) {
    EXPECT_FALSE(json_value_length(other)) << other;
  }
}

TEST(JsonRecordTest, ReadsWhatItWrites) {
  const RecordFields record{.topic = "t",
                            .partition = 1,
                            .offset = 2,
                            .timestamp_ms = -3,
                            .key = "",
                            .value = std::string_view("\xff\0\n", 3),
                            .headers = {{"h", "x"}, {"h", std::nullopt}, {"\xfe", ""}}};
  std::string text;
  append_json_record(record, text);
  const auto parsed = parse_json_record(text);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->partition, 1);
  EXPECT_EQ(parsed->timestamp_ms, -3);
  EXPECT_EQ(parsed->key, "");
  EXPECT_EQ(parsed->value, record.value);
  ASSERT_EQ(parsed->headers.size(), 3U);
  EXPECT_EQ(parsed->headers[1].value, std::nullopt);
  EXPECT_EQ(parsed->headers[2].key, "\xfe");
  EXPECT_EQ(parsed->headers[2].value, "");
}

TEST(JsonRecordTest, TakesAValueAloneAndTellsNullFromEmpty) {
  const auto empty = parse_json_record(R"({"value":""})");
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->value, "");
  EXPECT_EQ(empty->key, std::nullopt);
  EXPECT_EQ(empty->timestamp_ms, std::nullopt);
  EXPECT_EQ(parse_json_record(R"( {"value":null} )")->value, std::nullopt);
}

TEST(JsonRecordTest, TakesOneNameInSeveralObjects) {
  const auto parsed = parse_json_record(
      R"({"key":{"base64":"YQ=="},"value":{"base64":"Yg=="},"headers":[{"key":"a","value":"1"},)"
      R"({"key":"a","value":"2"}]})");
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->key, "a");
  EXPECT_EQ(parsed->value, "b");
  EXPECT_EQ(parsed->headers.size(), 2U);
}

TEST(JsonRecordTest, RefusesWhatIsNoRecordAndSaysWhy) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no JSON object"},
      {"[]", "no JSON object"},
      {"{", "no JSON object"},
      {"{} x", "no JSON object"},
      {"{}", "no \"value\""},
      {R"({"key":"k"})", "no \"value\""},
      {R"({"value":5})", "'value'"},
      {R"({"value":{"base64":"?"}})", "base64"},
      {R"({"value":{"base64":"","x":1}})", "'value'"},
      {R"({"value":"","vlaue":""})", "did you mean 'value'"},
      {R"({"value":"","partition":-1})", "'partition'"},
      {R"({"value":"","partition":2147483648})", "'partition'"},
      {R"({"value":"","partition":1.5})", "'partition'"},
      {R"({"value":"","timestamp_ms":9223372036854775808})", "'timestamp_ms'"},
      {R"({"value":"","timestamp_ms":"1"})", "'timestamp_ms'"},
      {R"({"value":"","headers":{"a":"b"}})", "no JSON array"},
      {R"({"value":"","headers":[{"key":"a"}]})", "no value"},
      {R"({"value":"","headers":[{"key":"a","value":"","vlaue":""}]})", "more than a key"},
      {R"({"value":"a","value":"b"})", "'value' twice"},
      {R"({"value":"a","key":null,"key":"k"})", "'key' twice"},
      {R"({"value":{"base64":"","base64":"YQ=="}})", "'base64' twice"},
      {R"({"value":"","headers":[{"key":"a","value":"1","value":"2"}]})", "'value' twice"},
      {"{\"value\":\"\xff\"}", "no JSON object"},
  };
  for (const auto& [text, part] : cases) {
    const auto parsed = parse_json_record(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message().find(part), std::string_view::npos)
        << text << ": " << parsed.error().message();
  }
}

}  // namespace
}  // namespace tidelog::tools
