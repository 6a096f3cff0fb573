#include "tools/time_text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace tidelog::tools {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads exactly `digits` digits at `at` and moves it behind them; -1 where they are missing.
int read_field(std::string_view text, std::size_t& at, std::size_t digits) {
  if (text.size() < at + digits) return -1;
  int value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const char c = text[at + i];
    if (!is_digit(c)) return -1;
    value = value * 10 + (c - '0');
  }
  at += digits;
  return value;
}

bool skip(std::string_view text, std::size_t& at, std::string_view one_of) {
  if (at >= text.size() || one_of.find(text[at]) == std::string_view::npos) return false;
  ++at;
  return true;
}

std::optional<std::chrono::sys_days> read_date(std::string_view text, std::size_t& at) {
  const int year = read_field(text, at, 4);
  if (year < 0 || !skip(text, at, "-")) return std::nullopt;
  const int month = read_field(text, at, 2);
  if (month < 0 || !skip(text, at, "-")) return std::nullopt;
  const int day = read_field(text, at, 2);
  if (day < 0) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date);
}

// Milliseconds since midnight, without the zone.
std::optional<std::int64_t> read_time_of_day(std::string_view text, std::size_t& at) {
  const int hour = read_field(text, at, 2);
  if (hour < 0 || hour > 23 || !skip(text, at, ":")) return std::nullopt;
  const int minute = read_field(text, at, 2);
  if (minute < 0 || minute > 59 || !skip(text, at, ":")) return std::nullopt;
  const int second = read_field(text, at, 2);
  if (second < 0 || second > 60) return std::nullopt;  // 60: a leap second
  std::int64_t ms = ((hour * 60LL + minute) * 60 + second) * 1000;
  if (skip(text, at, ".")) {
    std::size_t digits = 0;
    int unit = 100;
    for (; at < text.size() && is_digit(text[at]); ++at, ++digits, unit /= 10) {
      if (second < 60) ms += (text[at] - '0') * unit;
    }
    if (digits == 0) return std::nullopt;
  }
  return ms;
}

// What to subtract from local time to get UTC.
std::optional<std::int64_t> read_zone(std::string_view text, std::size_t& at) {
  if (skip(text, at, "Zz")) return 0;
  if (at >= text.size()) return std::nullopt;
  const int sign = text[at] == '-' ? -1 : 1;
  if (!skip(text, at, "+-")) return std::nullopt;
  const int hours = read_field(text, at, 2);
  if (hours < 0 || hours > 23 || !skip(text, at, ":")) return std::nullopt;
  const int minutes = read_field(text, at, 2);
  if (minutes < 0 || minutes > 59) return std::nullopt;
  return sign * (hours * 60LL + minutes) * 60'000;
}

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
// "ms" before "m" and "s": the longest name that fits is meant.
constexpr auto kUnits = std::to_array<Unit>(
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}});
constexpr std::int64_t kDurationMsMax = 300LL * 366 * 86'400'000;

}  // namespace

std::optional<TimeText> read_rfc3339(std::string_view text) {
  std::size_t at = 0;
  const auto date = read_date(text, at);
  if (!date) return std::nullopt;
  const std::int64_t midnight_ms = date->time_since_epoch().count() * 86'400'000LL;
  const std::size_t date_length = at;
  if (!skip(text, at, "Tt ")) return TimeText{midnight_ms, date_length};
  const auto time = read_time_of_day(text, at);
  if (!time) return std::nullopt;
  const auto zone = read_zone(text, at);
  if (!zone) return std::nullopt;
  return TimeText{midnight_ms + *time - *zone, at};
}

std::optional<DurationText> read_duration(std::string_view text) {
  std::int64_t total_ms = 0;
  std::size_t at = 0;
  while (at < text.size() && is_digit(text[at])) {
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), count);
    if (error != std::errc()) return std::nullopt;
    const auto behind = static_cast<std::size_t>(end - text.data());
    const Unit* unit = nullptr;
    for (const Unit& candidate : kUnits) {
      if (text.substr(behind).starts_with(candidate.name)) {
        unit = &candidate;
        break;
      }
    }
    if (unit == nullptr || count > kDurationMsMax / unit->ms) return std::nullopt;
    total_ms += count * unit->ms;
    if (total_ms > kDurationMsMax) return std::nullopt;
    at = behind + unit->name.size();
  }
  if (at == 0) return std::nullopt;
  return DurationText{std::chrono::milliseconds(total_ms), at};
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto read = read_duration(text);
  if (!read || read->length != text.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is no duration; write a number and a unit (ms, s, m, h, d), "
                            "such as 500ms or 1h30m",
                            text));
  }
  return read->duration;
}

}  // namespace tidelog::tools
