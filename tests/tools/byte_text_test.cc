#include "tools/byte_text.h"

#include <gtest/gtest.h>

#include "tools/escapes.h"

namespace tidelog::tools {
namespace {

using namespace std::string_literals;

std::string all_bytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

TEST(Utf8Test, AcceptsShortestForms) {
  for (const std::string& text :
       {""s, "plain"s, "\x7f"s, "\u0080"s, "\u07ff"s, "\u0800"s, "\ud7ff"s, "\ue000"s, "\uffff"s,
        "\U00010000"s, "\U0010ffff"s, "eight bytes and then \u00e9"s, "\0"s}) {
    EXPECT_TRUE(is_utf8(text)) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, RefusesEverythingElse) {
  for (const std::string& bytes :
       {"\x80"s, "\xc0\x80"s, "\xc1\xbf"s, "\xe0\x9f\xbf"s, "\xed\xa0\x80"s, "\xed\xbf\xbf"s,
        "\xf0\x8f\xbf\xbf"s, "\xf4\x90\x80\x80"s, "\xf5\x80\x80\x80"s, "\xff"s, "\xc3"s,
        "\xe2\x82"s, "\xf0\x9f\x98"s, "\xc3("s, "\xe2\x82("s, "12345678\x80"s, "1234567\xc3"s}) {
    EXPECT_FALSE(is_utf8(bytes)) << testing::PrintToString(bytes);
  }
}

TEST(HexTest, RoundTripsAllBytes) {
  std::string text;
  append_hex(text, all_bytes());
  EXPECT_EQ(parse_hex(text), all_bytes());
  EXPECT_EQ(parse_hex("0aFF"), "\x0a\xff"s);
  EXPECT_FALSE(parse_hex("0"));
  EXPECT_FALSE(parse_hex("0g"));
}

TEST(Base64Test, AgreesWithTheStandardsExamples) {
  const std::pair<const char*, const char*> examples[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : examples) {
    std::string out;
    append_base64(out, bytes);
    EXPECT_EQ(out, text);
    EXPECT_EQ(parse_base64(text), bytes);
  }
}

TEST(Base64Test, RoundTripsAllBytesAndRefusesDamage) {
  std::string text;
  append_base64(text, all_bytes());
  EXPECT_EQ(parse_base64(text), all_bytes());
  for (const char* damaged : {"Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Z g="}) {
    EXPECT_FALSE(parse_base64(damaged)) << damaged;
  }
}

TEST(JsonTextTest, EscapesWhatJsonForbids) {
  std::string text;
  append_json_bytes(text, "a\"b\\c\n\r\t\x01\0\x1f\u00e9"s);
  EXPECT_EQ(text, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u0000\\u001f\u00e9\"");
}

TEST(JsonTextTest, WritesOtherBytesAsBase64) {
  std::string text;
  append_json_bytes(text, "\xff\xfe");
  EXPECT_EQ(text, R"({"base64":"//4="})");
}

TEST(EscapesTest, StandForTheirBytes) {
  EXPECT_EQ(*unescape(R"(a\n\t\r\0\\\x41\xfF\"z)"), "a\n\t\r\0\\A\xff\"z"s);
  EXPECT_EQ(*unescape(""), "");
  for (const char* text : {"\\", "\\q", "\\x", "\\x4", "\\xg0", "\\x4g", "a\\"}) {
    EXPECT_FALSE(unescape(text)) << text;
  }
}

}  // namespace
}  // namespace tidelog::tools
