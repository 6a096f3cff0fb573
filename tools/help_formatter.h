// How --help looks.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace tidelog::tools {

// Names, type and default of an option on the left; what it does and its environment name right.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  // What stands for a positional is the type of its value: TOPIC, FILE.
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

}  // namespace tidelog::tools
