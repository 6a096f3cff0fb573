// Reads records that consume -f printed, given the same format.
//
// A field ends where the literal behind it begins. A key or value whose length was read before it
// (%K, %V) has exactly that length, whatever it holds, and -1 makes it null. With {json} the JSON
// value says where it ends. A format that ends with any other field is read line by line. An empty
// %k means no key, an empty %v an empty value. %p chooses the partition and %d the timestamp; %t
// and %o are read over. At the end of the input the last literal may be missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tools/format.h"

namespace tidelog::tools {

struct ParsedHeader {
  std::string key;
  std::optional<std::string> value;
};

struct ParsedRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<ParsedHeader> headers;
  std::optional<std::int32_t> partition;
  std::optional<std::int64_t> timestamp_ms;
};

class FormatReader {
 public:
  // Fails with kInvalidArgument where records printed so could not be told apart again.
  static Result<FormatReader> make(Format format);

  // Reads the record that begins `input`. Returns how many bytes it takes, or nullopt when it does
  // not end in `input` and there is more to come (`at_end` false).
  // Fails with kInvalidArgument: the input does not look like the format.
  Result<std::optional<std::size_t>> read(std::string_view input, bool at_end,
                                          ParsedRecord& record) const;

 private:
  explicit FormatReader(Format format) : format_(std::move(format)) {}

  Format format_;
};

}  // namespace tidelog::tools
