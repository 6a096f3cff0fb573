// Reads the values of settings, and finds the names that somebody probably meant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tidelog::replication {

// A decimal integer from `min` to `max`. Fails with kInvalidSetting; the message names `setting`.
Result<std::int64_t> parse_integer(std::string_view setting, std::string_view value,
                                   std::int64_t min, std::int64_t max);

// A number of bytes: a decimal integer, alone or with KiB, MiB or GiB behind it ("64MiB").
// Fails with kInvalidSetting.
Result<std::int64_t> parse_byte_size(std::string_view setting, std::string_view value,
                                     std::int64_t min, std::int64_t max);

// The position of `value` in `choices`. Fails with kInvalidSetting; the message lists them.
Result<std::size_t> parse_choice(std::string_view setting, std::string_view value,
                                 std::span<const std::string_view> choices);

// "true" or "false". Fails with kInvalidSetting.
Result<bool> parse_boolean(std::string_view setting, std::string_view value);

// Insertions, deletions, substitutions and swaps of neighbours that turn one into the other;
// upper and lower case count as equal.
// Above `distance_max` it stops counting and answers distance_max + 1.
std::size_t edit_distance(std::string_view a, std::string_view b,
                          std::size_t distance_max = std::numeric_limits<std::size_t>::max() - 1);

// Bounds the time of looking for close names among many.
inline constexpr std::size_t kEditsMax = 4;

// The candidates that `name` may be a misspelling of (edit distance at most a third of its length,
// at least 1, at most kEditsMax), best first, equal ones in alphabetical order; at most
// `count_max`.
std::vector<std::string> closest_names(std::string_view name,
                                       std::span<const std::string_view> candidates,
                                       std::size_t count_max);

// "" when there is none, else "; did you mean 'a' or 'b'?".
std::string did_you_mean(std::span<const std::string> names);

}  // namespace tidelog::replication
