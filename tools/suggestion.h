// "Did you mean": the known names closest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tidelog::tools {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
int edit_distance(std::string_view a, std::string_view b);

// At most three of `known`, nearest first: those within a third of the length (at least two edits),
// and those that begin with `word`.
std::vector<std::string> closest(std::string_view word, std::span<const std::string> known);

// "; did you mean 'a' or 'b'?", or nothing when nothing is close.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace tidelog::tools
