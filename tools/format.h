// The format language of consume -f, produce -o and produce -f.
//
//   %t topic   %p partition   %o offset   %d timestamp, ms since 1970 UTC
//   %k key     %v value (%s too)          %K %V their lengths in bytes, -1 for null
//   %h headers as k=v,k=v     %% a percent sign
//   \n \t \r \0 \\ \xHH       as usual; everything else stands for itself
//
// %t, %k and %v take {hex}, {base64} or {json} behind them, %h takes {json}. A null prints as
// nothing, with {json} as null. {json} writes bytes that are not UTF-8 as {"base64": "..."}.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/record_fields.h"

namespace tidelog::tools {

enum class FormatField : std::uint8_t {
  kLiteral,
  kTopic,
  kPartition,
  kOffset,
  kTimestamp,
  kKey,
  kValue,
  kKeyLength,
  kValueLength,
  kHeaders,
};

enum class FormatModifier : std::uint8_t { kNone, kHex, kBase64, kJson };

struct FormatPiece {
  FormatField field = FormatField::kLiteral;
  FormatModifier modifier = FormatModifier::kNone;
  std::string literal;  // the bytes of a kLiteral; never empty there
};

class Format {
 public:
  // Fails with kInvalidArgument; the message names the piece that is not understood.
  static Result<Format> parse(std::string_view text);

  // Appends `record` to `out`.
  void print(const RecordFields& record, std::string& out) const;

  // No two literals follow one another.
  std::span<const FormatPiece> pieces() const { return pieces_; }
  bool uses(FormatField field) const;
  // Adds a newline unless the format ends with one.
  void end_with_newline();

 private:
  void add_literal(std::string_view bytes);
  Result<std::size_t> add_field(std::string_view text);

  std::vector<FormatPiece> pieces_;
};

}  // namespace tidelog::tools
