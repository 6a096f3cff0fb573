#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "tools/environment_names.h"
#include "tools/help_formatter.h"
#include "tools/reference/pages.h"

namespace tidelog::tools {
namespace {

// Text as roff prints it unchanged.
std::string roff(std::string_view text) {
  std::string escaped;
  bool at_line_start = true;
  for (const char c : text) {
    if (at_line_start && (c == '.' || c == '\'')) escaped += "\\&";
    at_line_start = c == '\n';
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  });
  return text;
}

// "tidelog topic create" with `separator` between the words.
std::string path(const CLI::App& app, std::string_view separator) {
  if (app.get_parent() == nullptr) return "tidelog";
  return fmt::format("{}{}{}", path(*app.get_parent(), separator), separator, app.get_name());
}

std::vector<CLI::App*> commands_of(CLI::App& app) {
  const auto is_shown = [](CLI::App* command) { return !command->get_group().empty(); };
  return app.get_subcommands(is_shown);
}

// "-p, --partition" in bold, and what it takes.
std::string option_heading(const CLI::Option& option) {
  std::string names;
  const auto add = [&names](std::string_view dashes, const std::string& name) {
    names +=
        fmt::format("{}\\fB{}\\fR", names.empty() ? "" : ", ", roff(std::string(dashes) + name));
  };
  for (const std::string& name : option.get_snames()) add("-", name);
  for (const std::string& name : option.get_lnames()) add("--", name);
  if (names.empty()) names = fmt::format("\\fI{}\\fR", roff(option.get_type_name()));
  return names + roff(HelpFormatter().make_option_opts(&option));
}

// What it does, and its environment name as --help shows it.
std::string option_text(CLI::App& app, const CLI::Option& option) {
  for (const FlagVariable& flag : flag_variables(app)) {
    if (flag.option != &option) continue;
    return fmt::format("{} [{}]", option.get_description(), flag.variable);
  }
  return option.get_description();
}

std::string options_section(CLI::App& app, std::string_view title, bool positional) {
  const auto wanted = [positional](const CLI::Option* option) {
    return option->get_positional() == positional && !option->get_group().empty();
  };
  std::string section;
  const CLI::App& shown = app;
  for (const CLI::Option* option : shown.get_options(wanted)) {
    section +=
        fmt::format(".TP\n{}\n{}\n", option_heading(*option), roff(option_text(app, *option)));
  }
  return section.empty() ? section : fmt::format(".SH {}\n{}", title, section);
}

std::string commands_section(CLI::App& app) {
  std::string section;
  for (const CLI::App* command : commands_of(app)) {
    section += fmt::format(".TP\n\\fB{}\\fR(1)\n{}\n", roff(path(*command, "-")),
                           roff(command->get_description()));
  }
  return section.empty() ? section : ".SH COMMANDS\n" + section;
}

std::string synopsis(const CLI::App& app) {
  const HelpFormatter formatter;
  std::string usage = formatter.make_usage(&app, path(app, " "));
  constexpr std::string_view kTitle = "Usage: ";
  if (usage.starts_with(kTitle)) usage.erase(0, kTitle.size());
  while (usage.ends_with('\n')) usage.pop_back();
  return fmt::format(".SH SYNOPSIS\n{}\n", roff(usage));
}

// The text below the options of --help, as it stands there.
std::string example_section(const CLI::App& app) {
  std::string text = app.get_footer();
  constexpr std::string_view kTitle = "Example:\n";
  if (text.starts_with(kTitle)) text.erase(0, kTitle.size());
  if (text.empty()) return text;
  return fmt::format(".SH EXAMPLE\n.nf\n{}\n.fi\n", roff(text));
}

std::string see_also(CLI::App& app) {
  if (app.get_parent() == nullptr) return {};
  std::string names = fmt::format("\\fB{}\\fR(1)", roff(path(*app.get_parent(), "-")));
  for (const CLI::App* sibling : commands_of(*app.get_parent())) {
    if (sibling != &app) names += fmt::format(",\n\\fB{}\\fR(1)", roff(path(*sibling, "-")));
  }
  return fmt::format(".SH SEE ALSO\n{}\n", names);
}

std::string manual_page(CLI::App& app) {
  const std::string name = path(app, "-");
  // No date: the page is the same each time it is written.
  return fmt::format(".TH \"{}\" 1 \"\" \"Tidelog {}\" \"Tidelog manual\"\n", roff(upper(name)),
                     TIDELOG_VERSION) +
         fmt::format(".SH NAME\n{} \\- {}\n", roff(name), roff(app.get_description())) +
         synopsis(app) + options_section(app, "ARGUMENTS", true) + commands_section(app) +
         options_section(app, "OPTIONS", false) + example_section(app) +
         ".SH EXIT STATUS\n0: done; 1: failed or partly done; 2: wrong usage; 130: ended by "
         "Ctrl\\-C.\n" +
         see_also(app);
}

void add_pages(CLI::App& app, std::map<std::string, std::string>& pages) {
  pages.emplace(path(app, "-") + ".1", manual_page(app));
  for (CLI::App* command : commands_of(app)) add_pages(*command, pages);
}

}  // namespace

std::map<std::string, std::string> manual_pages(CLI::App& root) {
  std::map<std::string, std::string> pages;
  add_pages(root, pages);
  return pages;
}

}  // namespace tidelog::tools
