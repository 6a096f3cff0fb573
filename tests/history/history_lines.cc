#include "tests/history/history_lines.h"

#include <fmt/core.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tidelog::history {
namespace {

using Json = nlohmann::json;

class Event {
 public:
  explicit Event(const Json& fields) : fields_(fields) {}

  Result<std::string> text(const char* key) const {
    const auto found = fields_.find(key);
    if (found == fields_.end() || !found->is_string()) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is no text", key));
    }
    return found->get<std::string>();
  }
  Result<std::int64_t> offset() const {
    const auto found = fields_.find("offset");
    if (found == fields_.end() || !found->is_number_integer() || found->get<std::int64_t>() < 0) {
      return fail(ErrorCode::kInvalidArgument, "'offset' is no offset");
    }
    return found->get<std::int64_t>();
  }
  Result<std::vector<std::string>> values() const {
    if (fields_.contains("value")) {
      TIDELOG_ASSIGN(auto one, text("value"));
      return std::vector<std::string>{std::move(one)};
    }
    const auto found = fields_.find("values");
    if (found == fields_.end() || !found->is_array()) {
      return fail(ErrorCode::kInvalidArgument, "there are no 'values'");
    }
    std::vector<std::string> values;
    for (const Json& value : *found) {
      if (!value.is_string()) return fail(ErrorCode::kInvalidArgument, "a value is no text");
      values.push_back(value.get<std::string>());
    }
    return values;
  }

 private:
  const Json& fields_;
};

Result<> apply_to_producer(Checker& checker, const std::string& kind, const Event& event) {
  TIDELOG_ASSIGN(const auto values, event.values());
  if (kind == "send") {
    TIDELOG_ASSIGN(const auto producer, event.text("producer"));
    for (const std::string& value : values) TIDELOG_TRY(checker.send(producer, value));
  } else if (kind == "failed") {
    for (const std::string& value : values) TIDELOG_TRY(checker.failed(value));
  } else {
    TIDELOG_ASSIGN(const auto partition, event.text("partition"));
    TIDELOG_ASSIGN(std::int64_t offset, event.offset());
    for (const std::string& value : values) {
      TIDELOG_TRY(checker.acknowledged(partition, offset++, value));
    }
  }
  return {};
}

Result<> apply_to_log(Checker& checker, const std::string& kind, const Event& event) {
  TIDELOG_ASSIGN(const auto partition, event.text("partition"));
  TIDELOG_ASSIGN(std::int64_t offset, event.offset());
  if (kind == "assign") {
    TIDELOG_ASSIGN(const auto consumer, event.text("consumer"));
    checker.assign(consumer, partition, offset);
  } else if (kind == "polled") {
    TIDELOG_ASSIGN(const auto consumer, event.text("consumer"));
    TIDELOG_ASSIGN(const auto values, event.values());
    for (const std::string& value : values) checker.polled(consumer, partition, offset++, value);
  } else if (kind == "ended") {
    checker.ended(partition, offset);
  } else if (kind == "may_trim") {
    checker.may_trim(partition, offset);
  } else if (kind == "may_cut") {
    checker.may_cut(partition, offset);
  } else if (kind == "cut") {
    checker.cut(partition, offset);
  } else {
    return fail(ErrorCode::kInvalidArgument, fmt::format("there is no event '{}'", kind));
  }
  return {};
}

}  // namespace

Result<> apply_line(Checker& checker, std::string_view line) {
  const Json fields = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!fields.is_object()) return fail(ErrorCode::kInvalidArgument, "no JSON object");
  const Event event(fields);
  TIDELOG_ASSIGN(const auto kind, event.text("event"));
  const bool producers = kind == "send" || kind == "acknowledged" || kind == "failed";
  return producers ? apply_to_producer(checker, kind, event) : apply_to_log(checker, kind, event);
}

}  // namespace tidelog::history
