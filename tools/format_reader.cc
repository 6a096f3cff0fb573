#include "tools/format_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tools/byte_text.h"
#include "tools/json_record.h"

namespace tidelog::tools {
namespace {

using enum FormatField;

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string_view name_of(FormatField field) {
  switch (field) {
    case kTopic:
      return "%t";
    case kPartition:
      return "%p";
    case kOffset:
      return "%o";
    case kTimestamp:
      return "%d";
    case kKey:
      return "%k";
    case kValue:
      return "%v";
    case kKeyLength:
      return "%K";
    case kValueLength:
      return "%V";
    case kHeaders:
      return "%h";
    case kLiteral:
      break;
  }
  return "text";
}

bool is_number(FormatField field) {
  return field == kPartition || field == kOffset || field == kTimestamp || field == kKeyLength ||
         field == kValueLength;
}

// True when the piece itself says where it ends, given the pieces before it.
bool ends_by_itself(std::span<const FormatPiece> before, const FormatPiece& piece) {
  if (piece.field == kLiteral || piece.modifier == FormatModifier::kJson) return true;
  if (piece.modifier != FormatModifier::kNone) return false;
  if (piece.field != kKey && piece.field != kValue) return false;
  const FormatField length = piece.field == kKey ? kKeyLength : kValueLength;
  return std::ranges::any_of(before, [length](const auto& p) { return p.field == length; });
}

std::optional<std::string> decode(std::string_view text, FormatModifier modifier) {
  switch (modifier) {
    case FormatModifier::kHex:
      return parse_hex(text);
    case FormatModifier::kBase64:
      return parse_base64(text);
    case FormatModifier::kNone:
    case FormatModifier::kJson:
      break;
  }
  return std::string(text);
}

Result<std::vector<ParsedHeader>> parse_headers(std::string_view text) {
  std::vector<ParsedHeader> headers;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view one = text.substr(0, comma);
    const std::size_t equals = one.find('=');
    if (equals == std::string_view::npos) {
      return refuse(fmt::format("header '{}' has no '='; headers are k=v,k=v", one));
    }
    headers.push_back({std::string(one.substr(0, equals)), std::string(one.substr(equals + 1))});
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return headers;
}

// Length of the longest end of `text` that begins `literal`.
std::size_t cut_off_literal(std::string_view text, std::string_view literal) {
  for (std::size_t length = std::min(text.size(), literal.size()); length > 0; --length) {
    if (text.ends_with(literal.substr(0, length))) return length;
  }
  return 0;
}

// One record on its way through the pieces.
class Reading {
 public:
  Reading(std::span<const FormatPiece> pieces, std::string_view input, bool at_end,
          ParsedRecord& record)
      : pieces_(pieces), input_(input), at_end_(at_end), record_(record) {}

  Result<std::optional<std::size_t>> run() {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      TIDELOG_ASSIGN(const bool is_whole,
                     pieces_[i].field == kLiteral ? read_literal(i) : read_field(i));
      if (!is_whole && at_end_) return refuse("the input ends inside a record");
      if (!is_whole) return std::nullopt;
    }
    TIDELOG_TRY(check_length(kKeyLength, key_length_, record_.key));
    TIDELOG_TRY(check_length(kValueLength, value_length_, record_.value));
    return at_;
  }

 private:
  std::string_view rest() const { return input_.substr(at_); }

  Result<bool> read_literal(std::size_t index) {
    const std::string& literal = pieces_[index].literal;
    const std::string_view seen = rest().substr(0, literal.size());
    if (!literal.starts_with(seen)) {
      return refuse(fmt::format("expected {} but there is {}", quoted(literal), quoted(seen)));
    }
    at_ += seen.size();
    if (seen.size() == literal.size()) return true;
    // A record whose fields are all there may end the input without its last literal.
    return at_end_ && index + 1 == pieces_.size() && index > 0;
  }

  Result<bool> read_field(std::size_t index) {
    const FormatPiece& piece = pieces_[index];
    if (piece.modifier == FormatModifier::kJson) return read_json(piece);
    if (ends_by_itself(pieces_.first(index), piece)) return read_counted(piece);
    const std::string& literal = pieces_[index + 1].literal;
    const std::size_t found = rest().find(literal);
    std::string_view text = rest().substr(0, found);
    if (found == std::string_view::npos) {
      if (!at_end_ || index + 2 != pieces_.size()) return false;
      text.remove_suffix(cut_off_literal(text, literal));
    }
    at_ += text.size();
    TIDELOG_TRY(is_number(piece.field) ? take_number(piece.field, text) : take_text(piece, text));
    return true;
  }

  Result<bool> read_counted(const FormatPiece& piece) {
    auto& target = piece.field == kKey ? record_.key : record_.value;
    const std::int64_t length = piece.field == kKey ? *key_length_ : *value_length_;
    if (length < 0) {
      target.reset();
      return true;
    }
    if (rest().size() < static_cast<std::uint64_t>(length)) return false;
    target = std::string(rest().substr(0, static_cast<std::size_t>(length)));
    at_ += static_cast<std::size_t>(length);
    return true;
  }

  Result<bool> read_json(const FormatPiece& piece) {
    TIDELOG_ASSIGN(const auto length, json_value_length(rest()));
    if (!length) return false;
    const std::string_view text = rest().substr(0, *length);
    at_ += *length;
    if (piece.field == kHeaders) {
      TIDELOG_ASSIGN(record_.headers, parse_json_headers(text));
      return true;
    }
    TIDELOG_ASSIGN(auto bytes, parse_json_bytes(text));
    if (piece.field == kKey) {
      record_.key = std::move(bytes);
    } else if (piece.field == kValue) {
      record_.value = std::move(bytes);
    }
    return true;
  }

  Result<> take_number(FormatField field, std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_length = field == kKeyLength || field == kValueLength;
    const std::int64_t max = field == kPartition ? INT32_MAX : is_length ? kLengthMax : INT64_MAX;
    if (error != std::errc() || end != text.data() + text.size() || number > max ||
        number < (is_length             ? -1
                  : field == kTimestamp ? INT64_MIN
                                        : 0)) {
      return refuse(fmt::format("{} is no {}", quoted(text), name_of(field)));
    }
    if (field == kPartition) record_.partition = static_cast<std::int32_t>(number);
    if (field == kTimestamp) record_.timestamp_ms = number;
    if (field == kKeyLength) key_length_ = number;
    if (field == kValueLength) value_length_ = number;
    return {};
  }

  Result<> take_text(const FormatPiece& piece, std::string_view text) {
    if (piece.field == kHeaders) {
      TIDELOG_ASSIGN(record_.headers, parse_headers(text));
      return {};
    }
    auto bytes = decode(text, piece.modifier);
    if (!bytes) {
      return refuse(fmt::format("{} is not {}", quoted(text),
                                piece.modifier == FormatModifier::kHex ? "hex" : "base64"));
    }
    if (piece.field == kValue) {
      record_.value = std::move(bytes);
    } else if (piece.field == kKey && !bytes->empty()) {
      record_.key = std::move(bytes);
    }
    return {};
  }

  Result<> check_length(FormatField field, std::optional<std::int64_t> length,
                        std::optional<std::string>& bytes) {
    const FormatField counted = field == kKeyLength ? kKey : kValue;
    const bool is_read = std::ranges::any_of(
        pieces_, [counted](const auto& piece) { return piece.field == counted; });
    if (!length || !is_read) return {};
    if (*length < 0 && (!bytes || bytes->empty())) {
      bytes.reset();
      return {};
    }
    if (*length == 0 && !bytes) bytes.emplace();
    if (bytes && static_cast<std::int64_t>(bytes->size()) == *length) return {};
    return refuse(fmt::format("{} says {} bytes, {} has {}", name_of(field), *length,
                              name_of(counted), bytes ? bytes->size() : 0));
  }

  static std::string quoted(std::string_view text) {
    constexpr std::size_t kShown = 40;
    std::string out;
    append_json_bytes(out, text.substr(0, kShown));
    if (text.size() > kShown) out += "...";
    return out;
  }

  // No record is larger, so a greater length is a mistake, not something to wait for.
  static constexpr std::int64_t kLengthMax = 1 << 30;

  std::span<const FormatPiece> pieces_;
  std::string_view input_;
  bool at_end_;
  ParsedRecord& record_;
  std::size_t at_ = 0;
  std::optional<std::int64_t> key_length_;
  std::optional<std::int64_t> value_length_;
};

}  // namespace

Result<FormatReader> FormatReader::make(Format format) {
  const FormatPiece& last = format.pieces().back();
  if (!ends_by_itself(format.pieces().first(format.pieces().size() - 1), last)) {
    format.end_with_newline();
  }
  const std::span<const FormatPiece> pieces = format.pieces();
  bool has_field = false;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const FormatPiece& piece = pieces[i];
    if (piece.field == kLiteral) continue;
    has_field = true;
    if (ends_by_itself(pieces.first(i), piece)) continue;
    // The last piece is a literal or ends by itself, so there is a next one here.
    const FormatPiece& next = pieces[i + 1];
    if (next.field != kLiteral) {
      return refuse(
          fmt::format("format: nothing separates {} from {}; put a character between "
                      "them, or the length before the field (%K %k, %V %v)",
                      name_of(piece.field), name_of(next.field)));
    }
    if (is_number(piece.field) && next.literal[0] >= '0' && next.literal[0] <= '9') {
      return refuse(fmt::format("format: a digit cannot follow {}", name_of(piece.field)));
    }
    for (const FormatField field : {kKey, kValue, kHeaders}) {
      if (piece.field != field) continue;
      const auto is_same = [field](const auto& p) { return p.field == field; };
      if (std::ranges::count_if(pieces, is_same) > 1) {
        return refuse(fmt::format("format: {} is there twice", name_of(field)));
      }
    }
  }
  if (!has_field) return refuse("format: there is no field to read; try '%k %v\\n'");
  return FormatReader(std::move(format));
}

Result<std::optional<std::size_t>> FormatReader::read(std::string_view input, bool at_end,
                                                      ParsedRecord& record) const {
  record = ParsedRecord();
  return Reading(format_.pieces(), input, at_end, record).run();
}

}  // namespace tidelog::tools
