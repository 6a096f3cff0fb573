// Records as JSON: one object a line, as consume --json prints them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tools/format_reader.h"
#include "tools/record_fields.h"

namespace tidelog::tools {

// Appends {"topic", "partition", "offset", "timestamp_ms", "key", "value", "headers":[{"key",
// "value"}]} without newline. A null is null; bytes that are not UTF-8 are {"base64": "..."}.
void append_json_record(const RecordFields& record, std::string& out);

// The same without topic and partition: {"offset", "timestamp_ms", "key", "value", "headers"}.
void append_json_record_body(const RecordFields& record, std::string& out);

// Length of the JSON string, null, object or array that begins `text`, nullopt when it does not end
// there. Only the shape is looked at. Fails with kInvalidArgument when something else begins it.
Result<std::optional<std::size_t>> json_value_length(std::string_view text);

// Bytes as append_json_record writes them: a string, null, or {"base64": "..."}.
// Fails with kInvalidArgument.
Result<std::optional<std::string>> parse_json_bytes(std::string_view text);

// An object as append_json_record() writes it; topic and offset are read over. "value" must be
// there, all others may be missing. Fails with kInvalidArgument: anything else, also a member that
// is not known.
Result<ParsedRecord> parse_json_record(std::string_view text);

// [{"key": ..., "value": ...}, ...]. Fails with kInvalidArgument.
Result<std::vector<ParsedHeader>> parse_json_headers(std::string_view text);

}  // namespace tidelog::tools
