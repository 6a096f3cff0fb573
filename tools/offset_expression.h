// Offset expressions: where to begin reading, and where to stop.
//
//   range  = bound | bound ":" bound | ":" bound | "s@" time | "e@" time
//   bound  = "start" | "beginning" | "earliest"    the oldest record that is there
//          | "end" | "latest"                      behind the newest record
//          | N                                     that offset
//          | "-" N                                 N before the end (not before the start)
//          | "+" N                                 N after the start
//          | "@" time                              the first record of that time or later
//   time   = RFC 3339 | date | milliseconds since 1970 UTC | "-" duration (before now)
//
// The bound behind ':' is where reading stops; the record there is not read. Behind a time another
// time needs no '@' of its own: "@-2h:-1h". "s@" and "e@" are kcat's words for "@time" and
// ":@time".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace tidelog::tools {

struct OffsetBound {
  enum class Kind : std::uint8_t { kStart, kEnd, kOffset, kTime };
  Kind kind = Kind::kStart;
  // kOffset: the offset; kTime: ms since 1970 UTC; kStart, kEnd: distance after or before it, >= 0.
  std::int64_t value = 0;

  bool operator==(const OffsetBound&) const = default;
};

struct OffsetRange {
  std::optional<OffsetBound> from;  // absent: the start
  std::optional<OffsetBound> to;    // absent: no end, reading goes on

  bool operator==(const OffsetRange&) const = default;
};

// `now_ms` is what "-1h" counts from. Fails with kInvalidArgument, also for what ends before it
// begins wherever a log's records lie, such as 5:3; the message shows what is allowed.
Result<OffsetRange> parse_offset_range(std::string_view text, std::int64_t now_ms);

// Joins the ranges of several -o options, as kcat's "-o s@A -o e@B".
// Fails with kInvalidArgument when both say where to begin, or both where to end, or the end lies
// before the beginning.
Result<OffsetRange> join_offset_ranges(const OffsetRange& one, const OffsetRange& other);

}  // namespace tidelog::tools
