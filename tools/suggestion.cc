#include "tools/suggestion.h"

#include <algorithm>
#include <utility>

namespace tidelog::tools {

int edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the usual table are enough: a swap looks two rows back.
  std::vector<int> before(b.size() + 1);
  std::vector<int> last(b.size() + 1);
  std::vector<int> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::vector<std::string> closest(std::string_view word, std::span<const std::string> known) {
  constexpr std::size_t kShown = 3;
  const int distance_max = std::max(2, static_cast<int>(word.size() / 3));
  std::vector<std::pair<int, std::string>> near;
  for (const std::string& name : known) {
    int distance = edit_distance(word, name);
    if (!word.empty() && name.starts_with(word)) distance = std::min(distance, 1);
    // Two edits turn any two letters into any other two.
    if (distance <= distance_max && distance < static_cast<int>(std::max(word.size(), name.size())))
      near.emplace_back(distance, name);
  }
  std::ranges::sort(near);
  std::vector<std::string> names;
  for (auto& [distance, name] : near) {
    if (names.size() < kShown) names.push_back(std::move(name));
  }
  return names;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> known) {
  const std::vector<std::string> names = closest(word, known);
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += i == 0 ? "; did you mean '" : i + 1 == names.size() ? "' or '" : "', '";
    text += names[i];
  }
  if (!text.empty()) text += "'?";
  return text;
}

}  // namespace tidelog::tools
