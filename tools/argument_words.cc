#include "tools/argument_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace tidelog::tools {
namespace {

// Begins no word that a person types.
constexpr char kMark = '\x01';

bool is_misread(std::string_view word) { return word.starts_with('[') && word.ends_with(']'); }

// `word` as CLI11 converts it without surprise: no sign but '-', no leading zeros.
std::string decimal(const std::string& word, bool is_signed) {
  std::string_view digits = word;
  const bool is_negative = digits.starts_with('-');
  if (is_negative) digits.remove_prefix(1);
  const bool is_number = !digits.empty() &&
                         std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; }) &&
                         (is_signed || !is_negative);
  // 18 digits always fit, and no amount here is anywhere near.
  if (is_number) {
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  }
  if (!is_number || digits.size() > 18) {
    throw CLI::ValidationError(
        fmt::format("'{}' is no whole number{}", word, is_signed ? "" : " of 0 or more"));
  }
  return (is_negative ? "-" : "") + std::string(digits);
}

void read_plainly(CLI::Option& option) {
  if (option.get_expected_max() == 0) return;  // a flag
  // Descriptions of checks may follow the type.
  const std::string type_name = option.get_type_name();
  const std::string_view type =
      std::string_view(type_name).substr(0, type_name.find_first_of(": "));
  const bool is_signed = type == "INT";
  const bool is_number = is_signed || type == "UINT";
  option.transform([is_number, is_signed](const std::string& word) {
    std::string plain = plain_word(word);
    return is_number ? decimal(plain, is_signed) : plain;
  });
}

// The command that `word` leads to from `command`: itself where it names none.
const CLI::App* command_below(const CLI::App& command, const std::string& word) {
  const auto is_it = [&word](const CLI::App* below) { return below->get_name() == word; };
  const std::vector<const CLI::App*> found = command.get_subcommands(is_it);
  return found.empty() ? &command : found.front();
}

bool takes_next_word(const CLI::App& command, const std::string& word) {
  if (!word.starts_with('-')) return false;
  const CLI::Option* option = command.get_option_no_throw(word);
  return option != nullptr && option->get_expected_max() > 0;
}

}  // namespace

std::vector<std::string> marked_words(const CLI::App& root, int argc, const char* const* argv) {
  std::vector<std::string> words;
  const CLI::App* command = &root;
  bool is_value = false;
  bool is_behind_dashes = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--" && !is_value && !is_behind_dashes) {
      is_behind_dashes = true;
      continue;
    }
    if (!is_value) command = command_below(*command, word);
    is_value = !is_value && !is_behind_dashes && takes_next_word(*command, word);
    words.emplace_back(is_behind_dashes || is_misread(word) ? 1 : 0, kMark);
    words.back() += word;
  }
  std::ranges::reverse(words);
  return words;
}

std::string plain_word(std::string word) {
  if (word.starts_with(kMark)) word.erase(0, 1);
  return word;
}

void read_words_plainly(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) read_plainly(*option);
  const auto any = [](const CLI::App*) { return true; };
  for (CLI::App* command : app.get_subcommands(any)) read_words_plainly(*command);
}

}  // namespace tidelog::tools
