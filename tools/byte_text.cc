#include "tools/byte_text.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace tidelog::tools {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::uint8_t octet(char c) { return static_cast<std::uint8_t>(c); }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Length of the well-formed UTF-8 sequence that begins `bytes`, 0 where there is none.
std::size_t utf8_sequence(std::string_view bytes) {
  const std::uint8_t first = octet(bytes[0]);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  // The second byte's range rules out overlong forms, surrogates and what lies above U+10FFFF.
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  if (length == 0 || bytes.size() < length) return 0;
  if (octet(bytes[1]) < low || octet(bytes[1]) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((octet(bytes[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

bool needs_json_escape(char c) { return octet(c) < 0x20 || c == '"' || c == '\\'; }

}  // namespace

bool is_utf8(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (at + 8 <= bytes.size()) {  // eight ASCII bytes at a time: the usual text
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + at, sizeof word);
      if ((word & 0x8080808080808080ULL) == 0) {
        at += 8;
        continue;
      }
    }
    const std::size_t length = utf8_sequence(bytes.substr(at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

void append_hex(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    out += kHexDigits[octet(c) >> 4];
    out += kHexDigits[octet(c) & 15];
  }
}

std::optional<std::string> parse_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t at = 0; at < text.size(); at += 2) {
    const int high = hex_value(text[at]);
    const int low = hex_value(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

void append_base64(std::string& out, std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t left = bytes.size() - at;
    std::uint32_t group = std::uint32_t{octet(bytes[at])} << 16;
    if (left > 1) group |= std::uint32_t{octet(bytes[at + 1])} << 8;
    if (left > 2) group |= octet(bytes[at + 2]);
    out += kBase64Digits[group >> 18];
    out += kBase64Digits[(group >> 12) & 63];
    out += left > 1 ? kBase64Digits[(group >> 6) & 63] : '=';
    out += left > 2 ? kBase64Digits[group & 63] : '=';
  }
}

std::optional<std::string> parse_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    const bool is_last = at + 4 == text.size();
    std::size_t digits = 4;
    if (is_last && text[at + 3] == '=') digits = text[at + 2] == '=' ? 2 : 3;
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t value = i < digits ? kBase64Digits.find(text[at + i]) : 0;
      if (value == std::string_view::npos) return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    if (digits == 2 && (group & 0xFFFF) != 0) return std::nullopt;
    if (digits == 3 && (group & 0xFF) != 0) return std::nullopt;
    bytes += static_cast<char>(group >> 16);
    if (digits > 2) bytes += static_cast<char>(group >> 8 & 255);
    if (digits > 3) bytes += static_cast<char>(group & 255);
  }
  return bytes;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (!needs_json_escape(c)) continue;
    out += text.substr(begin, at - begin);
    begin = at + 1;
    out += '\\';
    switch (c) {
      case '"':
      case '\\':
        out += c;
        break;
      case '\n':
        out += 'n';
        break;
      case '\r':
        out += 'r';
        break;
      case '\t':
        out += 't';
        break;
      default:
        out += "u00";
        out += kHexDigits[octet(c) >> 4];
        out += kHexDigits[octet(c) & 15];
    }
  }
  out += text.substr(begin);
  out += '"';
}

void append_json_bytes(std::string& out, std::string_view bytes) {
  if (is_utf8(bytes)) return append_json_string(out, bytes);
  out += R"({"base64":")";
  append_base64(out, bytes);
  out += "\"}";
}

}  // namespace tidelog::tools
