#include "tools/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "tools/byte_text.h"
#include "tools/escapes.h"

namespace tidelog::tools {
namespace {

using enum FormatField;

std::optional<FormatField> field_of(char letter) {
  switch (letter) {
    case 't':
      return kTopic;
    case 'p':
      return kPartition;
    case 'o':
      return kOffset;
    case 'd':
      return kTimestamp;
    case 'k':
      return kKey;
    case 'v':
    case 's':
      return kValue;
    case 'K':
      return kKeyLength;
    case 'V':
    case 'S':
      return kValueLength;
    case 'h':
      return kHeaders;
    default:
      return std::nullopt;
  }
}

std::optional<FormatModifier> modifier_of(std::string_view name) {
  if (name == "hex") return FormatModifier::kHex;
  if (name == "base64") return FormatModifier::kBase64;
  if (name == "json") return FormatModifier::kJson;
  return std::nullopt;
}

bool takes(FormatField field, FormatModifier modifier) {
  if (field == kHeaders) return modifier == FormatModifier::kJson;
  return field == kTopic || field == kKey || field == kValue;
}

void print_bytes(std::optional<std::string_view> bytes, FormatModifier modifier, std::string& out) {
  switch (modifier) {
    case FormatModifier::kNone:
      if (bytes) out += *bytes;
      break;
    case FormatModifier::kHex:
      if (bytes) append_hex(out, *bytes);
      break;
    case FormatModifier::kBase64:
      if (bytes) append_base64(out, *bytes);
      break;
    case FormatModifier::kJson:
      if (bytes) {
        append_json_bytes(out, *bytes);
      } else {
        out += "null";
      }
      break;
  }
}

void print_number(std::int64_t number, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{}", number);
}

std::int64_t length_of(std::optional<std::string_view> bytes) {
  return bytes ? static_cast<std::int64_t>(bytes->size()) : -1;
}

void print_headers(std::span<const HeaderField> headers, FormatModifier modifier,
                   std::string& out) {
  if (modifier == FormatModifier::kNone) {
    bool is_first = true;
    for (const HeaderField& header : headers) {
      if (!is_first) out += ',';
      is_first = false;
      out += header.key;
      out += '=';
      if (header.value) out += *header.value;
    }
    return;
  }
  out += '[';
  bool is_first = true;
  for (const HeaderField& header : headers) {
    if (!is_first) out += ',';
    is_first = false;
    out += R"({"key":)";
    append_json_bytes(out, header.key);
    out += R"(,"value":)";
    print_bytes(header.value, FormatModifier::kJson, out);
    out += '}';
  }
  out += ']';
}

}  // namespace

Result<Format> Format::parse(std::string_view text) {
  Format format;
  std::string escaped;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '%') {
      TIDELOG_ASSIGN(const std::size_t length, format.add_field(text.substr(at)));
      at += length;
    } else if (text[at] == '\\') {
      escaped.clear();
      TIDELOG_ASSIGN(const std::size_t length, read_escape(text.substr(at), escaped));
      format.add_literal(escaped);
      at += length;
    } else {
      const std::size_t end = std::min(text.find_first_of("%\\", at), text.size());
      format.add_literal(text.substr(at, end - at));
      at = end;
    }
  }
  if (format.pieces_.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the format is empty; try '%k %v\\n'");
  }
  return format;
}

void Format::add_literal(std::string_view bytes) {
  if (pieces_.empty() || pieces_.back().field != kLiteral) pieces_.emplace_back();
  pieces_.back().literal += bytes;
}

// `text` begins with '%'. Returns how much of it was read.
Result<std::size_t> Format::add_field(std::string_view text) {
  if (text.starts_with("%%")) {
    add_literal("%");
    return 2;
  }
  const auto field = text.size() > 1 ? field_of(text[1]) : std::nullopt;
  if (!field) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is no field; there are %t %p %o %d %k %v %K %V %h, and "
                            "%% for a percent sign",
                            text.substr(0, 2)));
  }
  FormatPiece piece{*field, FormatModifier::kNone, {}};
  std::size_t length = 2;
  if (text.size() > 2 && text[2] == '{') {
    const std::size_t close = text.find('}');
    const auto modifier =
        close == std::string_view::npos ? std::nullopt : modifier_of(text.substr(3, close - 3));
    if (!modifier || !takes(*field, *modifier)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' is no modifier of {}; %k, %v and %t take {{hex}}, "
                              "{{base64}} and {{json}}, %h takes {{json}}; for a brace write \\x7b",
                              text.substr(2, close == std::string_view::npos ? close : close - 1),
                              text.substr(0, 2)));
    }
    piece.modifier = *modifier;
    length = close + 1;
  }
  pieces_.push_back(std::move(piece));
  return length;
}

void Format::print(const RecordFields& record, std::string& out) const {
  for (const FormatPiece& piece : pieces_) {
    switch (piece.field) {
      case kLiteral:
        out += piece.literal;
        break;
      case kTopic:
        print_bytes(record.topic, piece.modifier, out);
        break;
      case kPartition:
        print_number(record.partition, out);
        break;
      case kOffset:
        print_number(record.offset, out);
        break;
      case kTimestamp:
        print_number(record.timestamp_ms, out);
        break;
      case kKey:
        print_bytes(record.key, piece.modifier, out);
        break;
      case kValue:
        print_bytes(record.value, piece.modifier, out);
        break;
      case kKeyLength:
        print_number(length_of(record.key), out);
        break;
      case kValueLength:
        print_number(length_of(record.value), out);
        break;
      case kHeaders:
        print_headers(record.headers, piece.modifier, out);
        break;
    }
  }
}

bool Format::uses(FormatField field) const {
  return std::ranges::any_of(pieces_, [field](const auto& piece) { return piece.field == field; });
}

void Format::end_with_newline() {
  if (!pieces_.empty() && pieces_.back().literal.ends_with('\n')) return;
  add_literal("\n");
}

}  // namespace tidelog::tools
