// Bytes written as text: hex, base64, JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidelog::tools {

// True for well-formed UTF-8 (shortest forms, no surrogates, at most U+10FFFF).
bool is_utf8(std::string_view bytes);

void append_hex(std::string& out, std::string_view bytes);
// nullopt unless all of `text` is pairs of hex digits, of either case.
std::optional<std::string> parse_hex(std::string_view text);

// Standard alphabet, padded (RFC 4648).
void append_base64(std::string& out, std::string_view bytes);
// nullopt unless `text` is padded base64 whose unused bits are 0.
std::optional<std::string> parse_base64(std::string_view text);

// A JSON string of text that is UTF-8. REQUIRES: is_utf8(text).
void append_json_string(std::string& out, std::string_view text);
// A JSON string, or {"base64": "..."} where `bytes` are not UTF-8.
void append_json_bytes(std::string& out, std::string_view bytes);

}  // namespace tidelog::tools
