#include "replication/setting_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace tidelog::replication {
namespace {

std::optional<std::int64_t> read_integer(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

Result<std::int64_t> parse_integer(std::string_view setting, std::string_view value,
                                   std::int64_t min, std::int64_t max) {
  const std::optional<std::int64_t> number = read_integer(value);
  if (!number || *number < min || *number > max) {
    return fail(
        ErrorCode::kInvalidSetting,
        fmt::format("{} must be a whole number from {} to {}, not '{}'", setting, min, max, value));
  }
  return *number;
}

Result<std::int64_t> parse_byte_size(std::string_view setting, std::string_view value,
                                     std::int64_t min, std::int64_t max) {
  static constexpr std::pair<std::string_view, int> kUnits[] = {
      {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
  std::string_view digits = value;
  int shift = 0;
  for (const auto& [unit, bits] : kUnits) {
    if (value.ends_with(unit)) {
      digits.remove_suffix(unit.size());
      shift = bits;
    }
  }
  std::optional<std::int64_t> number = read_integer(digits);
  if (number && *number > (std::numeric_limits<std::int64_t>::max() >> shift)) number.reset();
  if (number && *number >= 0) *number <<= shift;
  if (!number || *number < min || *number > max) {
    return fail(ErrorCode::kInvalidSetting,
                fmt::format("{} must be a number of bytes from {} to {} (KiB, MiB and GiB are "
                            "understood), not '{}'",
                            setting, min, max, value));
  }
  return *number;
}

Result<std::size_t> parse_choice(std::string_view setting, std::string_view value,
                                 std::span<const std::string_view> choices) {
  const auto at = std::ranges::find(choices, value);
  if (at == choices.end()) {
    return fail(ErrorCode::kInvalidSetting, fmt::format("{} must be one of {}, not '{}'", setting,
                                                        fmt::join(choices, ", "), value));
  }
  return static_cast<std::size_t>(at - choices.begin());
}

Result<bool> parse_boolean(std::string_view setting, std::string_view value) {
  static constexpr std::string_view kChoices[] = {"false", "true"};
  TIDELOG_ASSIGN(const std::size_t choice, parse_choice(setting, value, kChoices));
  return choice == 1;
}

std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t distance_max) {
  // Rows of the usual table; a swap of neighbours looks two rows back.
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> previous(b.size() + 1);
  std::vector<std::size_t> current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    std::size_t smallest = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool equal = lower(a[i - 1]) == lower(b[j - 1]);
      current[j] =
          std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (equal ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
      smallest = std::min(smallest, current[j]);
    }
    // From row to row the smallest entry of two never falls.
    if (smallest > distance_max && std::ranges::min(previous) > distance_max) {
      return distance_max + 1;
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return std::min(previous[b.size()], distance_max + 1);
}

std::vector<std::string> closest_names(std::string_view name,
                                       std::span<const std::string_view> candidates,
                                       std::size_t count_max) {
  const std::size_t distance_max = std::clamp<std::size_t>(name.size() / 3, 1, kEditsMax);
  std::vector<std::pair<std::size_t, std::string_view>> near;
  for (const std::string_view candidate : candidates) {
    // The lengths alone differ by more: most candidates end here, before the quadratic part.
    const std::size_t shorter = std::min(name.size(), candidate.size());
    if (std::max(name.size(), candidate.size()) - shorter > distance_max) continue;
    const std::size_t distance = edit_distance(name, candidate, distance_max);
    if (distance <= distance_max) near.emplace_back(distance, candidate);
  }
  std::ranges::sort(near);
  std::vector<std::string> names;
  for (const auto& [distance, candidate] : near) {
    if (names.size() == count_max) break;
    names.emplace_back(candidate);
  }
  return names;
}

std::string did_you_mean(std::span<const std::string> names) {
  if (names.empty()) return "";
  std::string text = "; did you mean ";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += fmt::format("'{}'", names[i]);
  }
  return text + "?";
}

}  // namespace tidelog::replication
