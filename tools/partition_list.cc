#include "tools/partition_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace tidelog::tools {
namespace {

// More than any topic has; keeps "0-2000000000" from being spelled out.
constexpr std::int32_t kPartitionMax = 99'999;

std::optional<std::int32_t> parse_number(std::string_view text) {
  std::int32_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number < 0 || number > kPartitionMax) return std::nullopt;
  return number;
}

}  // namespace

Result<std::vector<std::int32_t>> parse_partitions(std::string_view text) {
  std::vector<std::int32_t> partitions;
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const std::size_t dash = item.find('-');
    const auto first = parse_number(item.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_number(item.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("partitions '{}' are not understood; write 0, 0,2,5 or 0-3", text));
    }
    for (std::int32_t partition = *first; partition <= *last; ++partition) {
      partitions.push_back(partition);
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::ranges::sort(partitions);
  const auto repeated = std::ranges::unique(partitions);
  partitions.erase(repeated.begin(), repeated.end());
  return partitions;
}

}  // namespace tidelog::tools
