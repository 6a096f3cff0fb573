// Records as JSON, of anybody's making: refused, or the same once printed and read again.
#include "tools/json_record.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace tidelog::tools {
namespace {

bool same(const ParsedHeader& a, const ParsedHeader& b) {
  return a.key == b.key && a.value == b.value;
}

void fuzz_json(std::string_view text) {
  const auto length = json_value_length(text);
  TIDELOG_CHECK(!length || !*length || **length <= text.size(), "a value ends in its text");
  (void)parse_json_bytes(text);
  (void)parse_json_headers(text);
  const auto record = parse_json_record(text);
  if (!record) {
    TIDELOG_CHECK(!record.error().message().empty(), "a refusal has a reason");
    return;
  }
  RecordFields fields;
  fields.topic = "t";
  fields.partition = record->partition.value_or(0);
  fields.timestamp_ms = record->timestamp_ms.value_or(0);
  fields.key = record->key;
  fields.value = record->value;
  for (const ParsedHeader& header : record->headers) {
    fields.headers.push_back({header.key, header.value});
  }
  std::string printed;
  append_json_record(fields, printed);
  const auto again = parse_json_record(printed);
  TIDELOG_CHECK(again && again->key == record->key && again->value == record->value &&
                    std::ranges::equal(again->headers, record->headers, same),
                "a record survives being printed");
  TIDELOG_CHECK(again->partition == fields.partition && again->timestamp_ms == fields.timestamp_ms,
                "so do its numbers");
}

}  // namespace
}  // namespace tidelog::tools

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidelog::tools::fuzz_json({reinterpret_cast<const char*>(data), size});
  return 0;
}
