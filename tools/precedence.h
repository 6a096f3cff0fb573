// Where two options exclude each other and come from different places, the nearer one holds: what
// stands on the line beats variables, and those beat profiles.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace tidelog::tools {

// `option` says nothing where `to` comes from a nearer place, at least `count_min` times. Not so
// where one of `unless` comes from where `beside` does, or nearer; `beside` is one of the two.
// Names are those of CLI::App::get_option().
struct Yield {
  std::string option;
  std::string to;
  std::size_t count_min = 1;
  std::string beside = {};
  std::vector<std::string> unless = {};
};

// Nearer places are greater.
enum class Origin { kProfile, kVariable, kLine };

struct Given {
  Origin origin = Origin::kLine;
  std::size_t count = 1;  // 0: a flag that is switched off
};

using GivenOptions = std::map<const CLI::Option*, Given>;

// Those of `given` that say nothing, because an option of `command` from a nearer place excludes
// them. Of one place the yields come in their order: those of the options in `unless` first.
std::set<const CLI::Option*> outranked_options(const CLI::App& command,
                                               std::span<const Yield> yields,
                                               const GivenOptions& given);

// What the line gives to the options and positional words of `command`; `words` as marked_words()
// gives them.
GivenOptions given_on_line(const CLI::App& command, const std::vector<std::string>& words);

// Whether `text` switches a flag off.
bool is_off(const std::string& text);

}  // namespace tidelog::tools
