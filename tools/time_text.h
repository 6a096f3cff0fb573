// Points in time and spans of time as people write them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace tidelog::tools {

struct TimeText {
  std::int64_t unix_ms = 0;  // since 1970 UTC
  std::size_t length = 0;    // of the text it was read from
};
// Reads an RFC 3339 date-time ("2024-02-29T12:00:00.5+01:00", also with ' ' or 't' before the time
// and 'z' for UTC) or a full date (its midnight, UTC) that begins `text`; more may follow.
// Fractions below a millisecond are cut off. A leap second is the first moment of the next minute.
// nullopt where there is none, or where a field is out of its range.
std::optional<TimeText> read_rfc3339(std::string_view text);

struct DurationText {
  std::chrono::milliseconds duration{0};
  std::size_t length = 0;
};
// Reads numbers with units (ms, s, m, h, d), the larger ones first by convention only, as in
// "1h30m", that begin `text`. nullopt where there is none, or when it exceeds 300 years.
std::optional<DurationText> read_duration(std::string_view text);

// The whole of `text` is a duration. Fails with kInvalidArgument, naming the units.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace tidelog::tools
