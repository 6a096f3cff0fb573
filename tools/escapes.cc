#include "tools/escapes.h"

#include <fmt/format.h>

#include <charconv>

namespace tidelog::tools {

Result<std::size_t> read_escape(std::string_view text, std::string& out) {
  const char kind = text.size() > 1 ? text[1] : '\0';
  switch (text.size() > 1 ? kind : ' ') {
    case 'n':
      out += '\n';
      return 2;
    case 't':
      out += '\t';
      return 2;
    case 'r':
      out += '\r';
      return 2;
    case '0':
      out += '\0';
      return 2;
    case '\\':
    case '"':
      out += kind;
      return 2;
    case 'x': {
      unsigned value = 0;
      const std::string_view digits = text.substr(2, 2);
      const auto [end, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (error == std::errc() && digits.size() == 2 && end == digits.data() + 2) {
        out += static_cast<char>(value);
        return 4;
      }
      break;
    }
    default:
      break;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is no escape; there are \\n \\t \\r \\0 \\\\ and \\xHH",
                          text.substr(0, kind == 'x' ? 4 : 2)));
}

Result<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '\\') {
      out += text[at++];
      continue;
    }
    TIDELOG_ASSIGN(const std::size_t length, read_escape(text.substr(at), out));
    at += length;
  }
  return out;
}

}  // namespace tidelog::tools
