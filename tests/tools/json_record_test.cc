#include "tools/json_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

}  // namespace
}  // namespace tidelog::tools
