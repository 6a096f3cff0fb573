#include "tools/precedence.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "tools/argument_words.h"
#include "tools/environment_names.h"

namespace tidelog::tools {
namespace {

class LineReader {
 public:
  explicit LineReader(const CLI::App& command)
      : command_(command), path_words_(command_path(command).size()) {
    for (const CLI::Option* option : command.get_options()) {
      if (option->get_positional() && option->get_lnames().empty()) positionals_.push_back(option);
    }
  }

  void read(const std::string& marked) {
    const std::string word = plain_word(marked);
    const bool may_be_option = word.size() == marked.size() && word.size() > 1 && word[0] == '-';
    if (is_value_) {
      is_value_ = false;
    } else if (may_be_option && word.starts_with("--")) {
      read_long(word);
    } else if (may_be_option) {
      read_short(word);
    } else {
      read_positional();
    }
  }

  GivenOptions take() { return std::move(given_); }

 private:
  void add(const CLI::Option* option) {
    ++given_.try_emplace(option, Given{.count = 0}).first->second.count;
  }

  void read_long(const std::string& word) {
    const std::size_t equals = word.find('=');
    const CLI::Option* option = command_.get_option_no_throw(word.substr(0, equals));
    if (option == nullptr) return;
    const bool takes_value = option->get_expected_max() > 0;
    if (!takes_value && equals != word.npos && is_off(word.substr(equals + 1))) {
      given_.try_emplace(option, Given{.count = 0});
      return;
    }
    add(option);
    is_value_ = takes_value && equals == word.npos;
  }

  // Letters of flags, then perhaps one whose value is the rest or the next word.
  void read_short(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const CLI::Option* option = command_.get_option_no_throw({'-', word[i]});
      if (option == nullptr) return;
      add(option);
      if (option->get_expected_max() == 0) continue;
      is_value_ = i + 1 == word.size();
      return;
    }
  }

  void read_positional() {
    if (path_words_ > 0) {
      --path_words_;
      return;
    }
    // All but the last take one word here, the last takes the rest.
    const std::size_t index = std::min(positional_words_++, positionals_.size() - 1);
    if (!positionals_.empty()) add(positionals_[index]);
  }

  const CLI::App& command_;
  std::size_t path_words_;
  std::vector<const CLI::Option*> positionals_;
  std::size_t positional_words_ = 0;
  bool is_value_ = false;
  GivenOptions given_;
};

}  // namespace

std::set<const CLI::Option*> outranked_options(const CLI::App& command,
                                               std::span<const Yield> yields,
                                               const GivenOptions& given) {
  std::set<const CLI::Option*> outranked;
  const auto find = [&](const std::string& name) {
    const auto found = given.find(command.get_option(name));
    const bool is_there =
        found != given.end() && found->second.count > 0 && !outranked.contains(found->first);
    return is_there ? &*found : nullptr;
  };
  // From the nearest down: an option that says nothing itself silences no other.
  for (const Origin origin : {Origin::kVariable, Origin::kProfile}) {
    for (const Yield& yield : yields) {
      const auto* option = find(yield.option);
      const auto* to = find(yield.to);
      if (option == nullptr || option->second.origin != origin) continue;
      if (to == nullptr || to->second.origin <= origin || to->second.count < yield.count_min) {
        continue;
      }
      const bool is_excused = std::ranges::any_of(yield.unless, [&](const std::string& name) {
        const auto* excuse = find(name);
        return excuse != nullptr && excuse->second.origin >= find(yield.beside)->second.origin;
      });
      if (!is_excused) outranked.insert(option->first);
    }
  }
  return outranked;
}

GivenOptions given_on_line(const CLI::App& command, const std::vector<std::string>& words) {
  LineReader reader(command);
  for (auto word = words.rbegin(); word != words.rend(); ++word) reader.read(*word);
  return reader.take();
}

bool is_off(const std::string& text) {
  static constexpr std::array<std::string_view, 8> kOff{"0",   "f",  "n",     "-",
                                                        "off", "no", "false", "disable"};
  return std::ranges::find(kOff, CLI::detail::to_lower(text)) != kOff.end();
}

}  // namespace tidelog::tools
