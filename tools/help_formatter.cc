#include "tools/help_formatter.h"

#include <fmt/format.h>

namespace tidelog::tools {

HelpFormatter::HelpFormatter() {
  column_width(36);
  label("INT", "N");
  label("UINT", "N");
}

std::string HelpFormatter::make_option_name(const CLI::Option* option, bool is_positional) const {
  return is_positional ? option->get_type_name() : option->get_name(false, true);
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (!option->get_option_text().empty()) return " " + option->get_option_text();
  if (option->get_expected_max() == 0) return "";  // a flag
  std::string text;
  if (!option->get_positional() && !option->get_type_name().empty()) {
    text += " " + get_label(option->get_type_name());
  }
  if (!option->get_default_str().empty()) text += "=" + option->get_default_str();
  if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += " ...";
  if (option->get_required()) text += " " + get_label("REQUIRED");
  return text;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  if (option->get_envname().empty()) return option->get_description();
  return fmt::format("{} [{}]", option->get_description(), option->get_envname());
}

}  // namespace tidelog::tools
