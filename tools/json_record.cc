#include "tools/json_record.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tools/byte_text.h"
#include "tools/suggestion.h"

namespace tidelog::tools {
namespace {

void append_nullable(std::optional<std::string_view> bytes, std::string& out) {
  if (bytes) return append_json_bytes(out, *bytes);
  out += "null";
}

// From "offset" to the object's end.
void append_members(const RecordFields& record, std::string& out) {
  fmt::format_to(std::back_inserter(out), R"("offset":{},"timestamp_ms":{},"key":)", record.offset,
                 record.timestamp_ms);
  append_nullable(record.key, out);
  out += R"(,"value":)";
  append_nullable(record.value, out);
  out += R"(,"headers":[)";
  bool is_first = true;
  for (const HeaderField& header : record.headers) {
    if (!is_first) out += ',';
    is_first = false;
    out += R"({"key":)";
    append_json_bytes(out, header.key);
    out += R"(,"value":)";
    append_nullable(header.value, out);
    out += '}';
  }
  out += "]}";
}

std::unexpected<Error> refuse(std::string_view what) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format(R"({}; write a string, null, or {{"base64": "..."}})", what));
}

Result<std::optional<std::string>> bytes_of(const nlohmann::json& value) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.size() == 1 && value.contains("base64") &&
      value["base64"].is_string()) {
    auto bytes = parse_base64(value["base64"].get_ref<const std::string&>());
    if (bytes) return bytes;
    return refuse("the base64 is malformed");
  }
  return refuse("a key or value is of another kind");
}

// Of several members with one name the parser keeps one, without a word; here they are counted.
// Reads the text by itself: the parser's own callbacks cost the square of an array's length.
class RepeatedMembers final : public nlohmann::json_sax<nlohmann::json> {
 public:
  const std::optional<std::string>& first() const { return first_; }

  bool start_object(std::size_t) override {
    open_.emplace_back();
    return true;
  }
  bool end_object() override {
    open_.pop_back();
    return true;
  }
  bool key(std::string& name) override {
    if (!open_.back().insert(name).second && !first_) first_ = name;
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(std::int64_t) override { return true; }
  bool number_unsigned(std::uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  std::vector<std::set<std::string>> open_;  // the names so far of each object that is open
  std::optional<std::string> first_;
};

// Discarded where it is malformed. Fails where an object names a member twice.
Result<nlohmann::json> parse(std::string_view text) {
  RepeatedMembers repeated;
  if (!nlohmann::json::sax_parse(text, &repeated)) {
    return nlohmann::json(nlohmann::json::value_t::discarded);
  }
  if (repeated.first()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("an object has the member '{}' twice", *repeated.first()));
  }
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Result<std::vector<ParsedHeader>> headers_of(const nlohmann::json& list) {
  if (!list.is_array()) return refuse("headers are no JSON array");
  std::vector<ParsedHeader> headers;
  for (const nlohmann::json& item : list) {
    if (!item.is_object() || !item.contains("key") || !item.contains("value")) {
      return refuse("a header has no key or no value");
    }
    if (item.size() != 2) return refuse("a header has more than a key and a value");
    TIDELOG_ASSIGN(auto key, bytes_of(item["key"]));
    if (!key) return refuse("a header's key is null");
    TIDELOG_ASSIGN(auto value, bytes_of(item["value"]));
    headers.push_back({std::move(*key), std::move(value)});
  }
  return headers;
}

// A whole number that a record's field can hold.
template <typename T>
Result<T> number_of(const nlohmann::json& member, std::int64_t min, std::int64_t max) {
  const bool is_fitting = member.is_number_unsigned()
                              ? member.get<std::uint64_t>() <= static_cast<std::uint64_t>(max)
                              : member.is_number_integer() && member.get<std::int64_t>() >= min;
  if (is_fitting) return static_cast<T>(member.get<std::int64_t>());
  return fail(ErrorCode::kInvalidArgument, "this is no whole number that fits");
}

Result<> take_member(const std::string& name, const nlohmann::json& member, ParsedRecord& record) {
  constexpr std::array<std::string_view, 7> kNames{"topic", "partition", "offset", "timestamp_ms",
                                                   "key",   "value",     "headers"};
  if (name == "key") {
    TIDELOG_ASSIGN(record.key, bytes_of(member));
  } else if (name == "value") {
    TIDELOG_ASSIGN(record.value, bytes_of(member));
  } else if (name == "headers") {
    TIDELOG_ASSIGN(record.headers, headers_of(member));
  } else if (name == "partition") {
    TIDELOG_ASSIGN(record.partition, number_of<std::int32_t>(member, 0, INT32_MAX));
  } else if (name == "timestamp_ms") {
    TIDELOG_ASSIGN(record.timestamp_ms, number_of<std::int64_t>(member, INT64_MIN, INT64_MAX));
  } else if (name != "topic" && name != "offset") {
    const std::vector<std::string> known(kNames.begin(), kNames.end());
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a record has no such member{}", did_you_mean(name, known)));
  }
  return {};
}

}  // namespace

void append_json_record(const RecordFields& record, std::string& out) {
  out += R"({"topic":)";
  append_json_bytes(out, record.topic);
  fmt::format_to(std::back_inserter(out), R"(,"partition":{},)", record.partition);
  append_members(record, out);
}

void append_json_record_body(const RecordFields& record, std::string& out) {
  out += '{';
  append_members(record, out);
}

Result<std::optional<std::size_t>> json_value_length(std::string_view text) {
  constexpr std::string_view kNull = "null";
  if (text.empty() || kNull.starts_with(text)) {
    return text == kNull ? std::optional(text.size()) : std::nullopt;
  }
  if (text.starts_with(kNull)) return kNull.size();
  if (text[0] != '"' && text[0] != '{' && text[0] != '[') return refuse("there is no JSON");
  int depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      --depth;
    }
    if (!in_string && depth == 0 && at < text.size()) return at + 1;
  }
  return std::nullopt;
}

Result<std::optional<std::string>> parse_json_bytes(std::string_view text) {
  TIDELOG_ASSIGN(const nlohmann::json value, parse(text));
  if (value.is_discarded()) return refuse("the JSON is malformed");
  return bytes_of(value);
}

Result<std::vector<ParsedHeader>> parse_json_headers(std::string_view text) {
  TIDELOG_ASSIGN(const nlohmann::json list, parse(text));
  return headers_of(list);
}

Result<ParsedRecord> parse_json_record(std::string_view text) {
  TIDELOG_ASSIGN(const nlohmann::json object, parse(text));
  if (!object.is_object()) {
    return fail(ErrorCode::kInvalidArgument,
                R"(this is no JSON object such as {"key": null, "value": "..."})");
  }
  if (!object.contains("value")) {
    return fail(ErrorCode::kInvalidArgument,
                R"(there is no "value"; a tombstone has "value": null)");
  }
  ParsedRecord record;
  for (const auto& [name, member] : object.items()) {
    const auto taken = take_member(name, member, record);
    if (!taken) return fail(taken.error().with_context(fmt::format("'{}'", name)));
  }
  return record;
}

}  // namespace tidelog::tools
