#include "tools/offset_expression.h"

#include <fmt/format.h>

#include <charconv>

#include "tools/time_text.h"

namespace tidelog::tools {
namespace {

std::unexpected<Error> refuse(std::string_view whole, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("offset '{}': {}; offsets are start, end, N, -N (before the end), +N "
                          "(after the start), A:B, :end, @TIME and @A:B, where a time is "
                          "2024-01-31T12:00:00Z, milliseconds since 1970, or -1h for an hour ago",
                          whole, what));
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text[0] == '-') {
    return std::nullopt;
  }
  return value;
}

// A time that begins `text`. RFC 3339 comes first: it holds colons itself, and begins with digits.
std::optional<TimeText> read_time(std::string_view text, std::int64_t now_ms) {
  if (const auto date = read_rfc3339(text)) return date;
  if (text.starts_with('-')) {
    const auto span = read_duration(text.substr(1));
    if (!span) return std::nullopt;
    return TimeText{now_ms - span->duration.count(), span->length + 1};
  }
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto ms = parse_number(text.substr(0, digits));
  if (!ms) return std::nullopt;
  return TimeText{*ms, digits};
}

Result<OffsetBound> parse_time_bound(std::string_view text, std::string_view whole,
                                     std::int64_t now_ms) {
  const auto time = read_time(text, now_ms);
  if (!time || time->length != text.size()) {
    return refuse(whole, fmt::format("'{}' is no time", text));
  }
  return OffsetBound{OffsetBound::Kind::kTime, time->unix_ms};
}

// One bound without ':' in it, or with a time as the whole of it.
Result<OffsetBound> parse_bound(std::string_view text, std::string_view whole,
                                std::int64_t now_ms) {
  using Kind = OffsetBound::Kind;
  if (text == "start" || text == "beginning" || text == "earliest") {
    return OffsetBound{Kind::kStart, 0};
  }
  if (text == "end" || text == "latest") return OffsetBound{Kind::kEnd, 0};
  if (text.starts_with('@')) return parse_time_bound(text.substr(1), whole, now_ms);
  const bool is_relative = text.starts_with('-') || text.starts_with('+');
  const auto number = parse_number(is_relative ? text.substr(1) : text);
  if (!number) {
    return refuse(
        whole, text.empty() ? "one side of ':' is empty" : fmt::format("'{}' is no offset", text));
  }
  if (text[0] == '-') return OffsetBound{Kind::kEnd, *number};
  if (text[0] == '+') return OffsetBound{Kind::kStart, *number};
  return OffsetBound{Kind::kOffset, *number};
}

// "@A" or "@A:B".
Result<OffsetRange> parse_time_range(std::string_view whole, std::int64_t now_ms) {
  const std::string_view text = whole.substr(1);
  const auto from = read_time(text, now_ms);
  if (!from) return refuse(whole, fmt::format("'{}' is no time", text));
  OffsetRange range{OffsetBound{OffsetBound::Kind::kTime, from->unix_ms}, std::nullopt};
  std::string_view rest = text.substr(from->length);
  if (rest.empty()) return range;
  if (!rest.starts_with(':')) return refuse(whole, fmt::format("'{}' is no time", text));
  rest.remove_prefix(1);
  if (const auto to = read_time(rest, now_ms); to && to->length == rest.size()) {
    range.to = OffsetBound{OffsetBound::Kind::kTime, to->unix_ms};
    return range;
  }
  TIDELOG_ASSIGN(range.to, parse_bound(rest, whole, now_ms));
  return range;
}

// Whether it does so wherever the records lie; bounds of two kinds cannot tell.
bool ends_before_it_begins(const OffsetRange& range) {
  if (!range.from || !range.to || range.from->kind != range.to->kind) return false;
  if (range.from->kind == OffsetBound::Kind::kEnd) return range.from->value < range.to->value;
  return range.from->value > range.to->value;
}

Result<OffsetRange> parse_any_range(std::string_view text, std::int64_t now_ms) {
  if (text.empty()) return refuse(text, "it is empty");
  if (text.starts_with("s@")) {
    TIDELOG_ASSIGN(const OffsetBound from, parse_time_bound(text.substr(2), text, now_ms));
    return OffsetRange{from, std::nullopt};
  }
  if (text.starts_with("e@")) {
    TIDELOG_ASSIGN(const OffsetBound to, parse_time_bound(text.substr(2), text, now_ms));
    return OffsetRange{std::nullopt, to};
  }
  if (text.starts_with('@')) return parse_time_range(text, now_ms);

  OffsetRange range;
  const std::size_t colon = text.find(':');
  if (colon != 0) {
    TIDELOG_ASSIGN(range.from, parse_bound(text.substr(0, colon), text, now_ms));
  }
  if (colon != std::string_view::npos) {
    TIDELOG_ASSIGN(range.to, parse_bound(text.substr(colon + 1), text, now_ms));
  }
  return range;
}

}  // namespace

Result<OffsetRange> parse_offset_range(std::string_view text, std::int64_t now_ms) {
  TIDELOG_ASSIGN(const OffsetRange range, parse_any_range(text, now_ms));
  if (!ends_before_it_begins(range)) return range;
  return fail(ErrorCode::kInvalidArgument, fmt::format("offset '{}' ends before it begins", text));
}

Result<OffsetRange> join_offset_ranges(const OffsetRange& one, const OffsetRange& other) {
  if (one.from && other.from) {
    return fail(ErrorCode::kInvalidArgument, "-o was given twice and both say where to begin");
  }
  if (one.to && other.to) {
    return fail(ErrorCode::kInvalidArgument, "-o was given twice and both say where to end");
  }
  const OffsetRange joined{one.from ? one.from : other.from, one.to ? one.to : other.to};
  if (!ends_before_it_begins(joined)) return joined;
  return fail(ErrorCode::kInvalidArgument, "-o was given twice, and the end lies before the begin");
}

}  // namespace tidelog::tools
