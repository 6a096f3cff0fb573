#include "tools/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "tools/command_line.h"

namespace tidelog::tools {
namespace {

// What a word in some place can be.
struct Words {
  std::vector<std::string> choices{};
  bool is_file = false;
  bool is_topic = false;
};

struct Flag {
  std::vector<std::string> names;  // with their dashes
  std::string description;
  bool takes_value = false;
  Words value{};
};

struct Command {
  std::string path;  // "" for the root, "/topic/create"
  std::string name;
  std::string description;
  std::vector<Flag> flags{};
  std::vector<std::string> commands{};  // names of those below
  Words words{};                        // positional ones
};

// What the type name of an option says of its values.
void read_type(const std::string& type, Words& words) {
  if (type.find("FILE") != type.npos || type.find("DIR") != type.npos) words.is_file = true;
  if (type.find("TOPIC") != type.npos) words.is_topic = true;
  if (type.find('|') == type.npos) return;
  for (std::size_t at = 0; at <= type.size();) {
    const std::size_t bar = std::min(type.find('|', at), type.size());
    words.choices.push_back(type.substr(at, bar - at));
    at = bar + 1;
  }
}

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& into) {
  Command command{.path = path, .name = app.get_name(), .description = app.get_description()};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      read_type(option->get_type_name(), command.words);
      continue;
    }
    Flag flag{.names = {}, .description = option->get_description()};
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    flag.takes_value = option->get_expected_max() > 0;
    if (flag.takes_value) read_type(option->get_type_name(), flag.value);
    command.flags.push_back(std::move(flag));
  }
  const std::vector<const CLI::App*> below =
      app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* one : below) command.commands.push_back(one->get_name());
  into.push_back(std::move(command));
  for (const CLI::App* one : below) collect(*one, path + "/" + one->get_name(), into);
}

std::vector<Command> commands_of(const CLI::App& root) {
  std::vector<Command> commands;
  collect(root, "", commands);
  return commands;
}

// In single quotes, for any shell.
std::string quoted(std::string_view text, std::string_view quote_escape) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += quote_escape;
    } else {
      out += c;
    }
  }
  return out + "'";
}
std::string posix_quoted(std::string_view text) { return quoted(text, "'\\''"); }

// "/a|/a/b|/c": all places below the root.
std::string all_paths(const std::vector<Command>& commands, std::string_view separator) {
  std::vector<std::string> paths;
  for (const Command& command : commands) {
    if (!command.path.empty()) paths.push_back(command.path);
  }
  return fmt::format("{}", fmt::join(paths, separator));
}

// "'/produce -z'|'/produce --compression'".
std::string places_behind(const Command& command, const Flag& flag) {
  std::vector<std::string> places;
  for (const std::string& name : flag.names) {
    places.push_back(posix_quoted(command.path + " " + name));
  }
  return fmt::format("{}", fmt::join(places, "|"));
}

std::string names_of_flags(const Command& command) {
  std::string names;
  for (const Flag& flag : command.flags) {
    for (const std::string& name : flag.names) names += (names.empty() ? "" : " ") + name;
  }
  return names;
}

// Names of the flags that say which brokers are meant, and what words that hold their value begin
// with: topics are asked of the same ones.
struct PlaceFlags {
  std::vector<std::string> names;
  std::vector<std::string> attached;  // "--brokers=", "-b"
};

PlaceFlags place_flags(const std::vector<Command>& commands) {
  PlaceFlags found;
  for (const Command& command : commands) {
    if (command.path != "/topic/list") continue;
    for (const Flag& flag : command.flags) {
      const bool is_place = std::ranges::find(flag.names, "--brokers") != flag.names.end() ||
                            std::ranges::find(flag.names, kProfileFlag) != flag.names.end();
      if (!is_place) continue;
      for (const std::string& name : flag.names) {
        found.names.push_back(name);
        found.attached.push_back(name.starts_with("--") ? name + "=" : name);
      }
    }
  }
  return found;
}

// Patterns of the words that name a place and hold their value, for a case of a POSIX shell.
std::string attached_patterns(const PlaceFlags& places) {
  return fmt::format("{}*", fmt::join(places.attached, "*|"));
}

constexpr std::string_view kListTopics =
    R"($(timeout 3 "$binary" topic list "${place[@]}" 2>/dev/null | sed -e 1d -e 's/ .*//'))";

}  // namespace

std::string bash_completion(const CLI::App& root) {
  const std::vector<Command> commands = commands_of(root);
  std::string script =
      "# Completion of tidelog for bash. Load it with: source <(tidelog completion bash)\n"
      "_tidelog() {\n"
      "  local binary=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]}\n"
      "  local prev=${COMP_WORDS[COMP_CWORD-1]} at= words= flags= files= topics= i\n"
      "  local -a place=() typed=()\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"$at/${COMP_WORDS[i]}\" in\n";
  script += fmt::format("      {}) at=$at/${{COMP_WORDS[i]}} ;;\n    esac\n  done\n",
                        all_paths(commands, "|"));
  const PlaceFlags places = place_flags(commands);
  // Not from COMP_WORDS: bash splits them at the colon of an address.
  script += fmt::format(
      "  read -ra typed <<< \"${{COMP_LINE:0:COMP_POINT}}\"\n"
      "  for ((i = 1; i < ${{#typed[@]}}; i++)); do\n"
      "    case \"${{typed[i]}}\" in\n"
      "      {}) place+=(\"${{typed[i]}}\" \"${{typed[i+1]}}\") ;;\n"
      "      {}) place+=(\"${{typed[i]}}\") ;;\n"
      "    esac\n"
      "  done\n",
      fmt::join(places.names, "|"), attached_patterns(places));
  script += "  case \"$at $prev\" in\n";
  for (const Command& command : commands) {
    for (const Flag& flag : command.flags) {
      if (!flag.takes_value) continue;
      script += fmt::format("    {}) flags=none words={} files={} topics={} ;;\n",
                            places_behind(command, flag),
                            posix_quoted(fmt::format("{}", fmt::join(flag.value.choices, " "))),
                            flag.value.is_file ? "yes" : "", flag.value.is_topic ? "yes" : "");
    }
  }
  script += "    *) case \"$at\" in\n";
  for (const Command& command : commands) {
    std::vector<std::string> words = command.commands;
    words.insert(words.end(), command.words.choices.begin(), command.words.choices.end());
    script += fmt::format("      {}) words={} flags={} files={} topics={} ;;\n",
                          posix_quoted(command.path),
                          posix_quoted(fmt::format("{}", fmt::join(words, " "))),
                          posix_quoted(names_of_flags(command)), command.words.is_file ? "yes" : "",
                          command.words.is_topic ? "yes" : "");
  }
  script += "    esac ;;\n  esac\n";
  script +=
      "  if [[ $cur == -* && $flags != none ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
      "    return\n"
      "  fi\n";
  script += fmt::format("  [[ -z $topics ]] || words+=\" {}\"\n", kListTopics);
  script +=
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "  [[ -n $files ]] || return\n"
      "  local IFS=$'\\n'\n"
      "  COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
      "  compopt -o filenames 2>/dev/null\n"
      "}\n"
      "complete -F _tidelog tidelog\n";
  return script;
}

std::string zsh_completion(const CLI::App& root) {
  const std::vector<Command> commands = commands_of(root);
  std::string script =
      "#compdef tidelog\n"
      "# Completion of tidelog for zsh. Load it with: source <(tidelog completion zsh), behind\n"
      "# compinit; or save it as _tidelog in a folder of $fpath.\n"
      "_tidelog() {\n"
      "  local binary=${words[1]} at= word\n"
      "  local -a below flags place\n"
      "  local -i i\n"
      "  for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
      "    case \"$at/$word\" in\n";
  script += fmt::format("      ({}) at=$at/$word ;;\n    esac\n  done\n", all_paths(commands, "|"));
  const PlaceFlags places = place_flags(commands);
  script += fmt::format(
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    case \"${{words[i]}}\" in\n"
      "      ({}) place+=(\"${{words[i]}}\" \"${{words[i+1]}}\") ;;\n"
      "      ({}) place+=(\"${{words[i]}}\") ;;\n"
      "    esac\n"
      "  done\n",
      fmt::join(places.names, "|"), attached_patterns(places));
  const std::string topics = fmt::format("compadd -- ${{(f)\"{}\"}}", kListTopics);
  const auto offers = [&topics](const Words& words) {
    std::string text;
    if (!words.choices.empty()) {
      text += fmt::format("compadd -- {}; ", fmt::join(words.choices, " "));
    }
    if (words.is_topic) text += topics + "; ";
    if (words.is_file) text += "_files; ";
    return text;
  };
  script += "  case \"$at ${words[CURRENT-1]}\" in\n";
  for (const Command& command : commands) {
    for (const Flag& flag : command.flags) {
      if (!flag.takes_value) continue;
      script +=
          fmt::format("    ({}) {}return ;;\n", places_behind(command, flag), offers(flag.value));
    }
  }
  script += "  esac\n  case \"$at\" in\n";
  for (const Command& command : commands) {
    script += fmt::format("    ({})\n      flags=(", posix_quoted(command.path));
    for (const Flag& flag : command.flags) {
      for (const std::string& name : flag.names) {
        script += " " + posix_quoted(name + ":" + flag.description);
      }
    }
    script += ")\n      if [[ ${words[CURRENT]} == -* ]]; then _describe flag flags; return; fi\n";
    if (!command.commands.empty()) {
      script += "      below=(";
      for (const Command& one : commands) {
        if (!one.path.empty() && one.path == command.path + "/" + one.name) {
          script += " " + posix_quoted(one.name + ":" + one.description);
        }
      }
      script += ")\n      _describe command below\n";
    }
    script += fmt::format("      {};;\n", offers(command.words));
  }
  script +=
      "  esac\n"
      "}\n"
      "if [[ ${funcstack[1]} == _tidelog ]]; then _tidelog \"$@\"; else compdef _tidelog tidelog; "
      "fi\n";
  return script;
}

std::string fish_completion(const CLI::App& root) {
  const std::vector<Command> commands = commands_of(root);
  const auto fish_quoted = [](std::string_view text) { return quoted(text, "\\'"); };
  std::string script =
      "# Completion of tidelog for fish. Load it with: tidelog completion fish | source\n"
      "function __tidelog_at\n"
      "  set -l at ''\n"
      "  set -l line (commandline -opc)\n"
      "  for word in $line[2..-1]\n"
      "    switch \"$at/$word\"\n";
  script += fmt::format("      case {}\n        set at \"$at/$word\"\n    end\n  end\n",
                        all_paths(commands, " "));
  script +=
      "  test \"$at\" = \"$argv[1]\"\n"
      "end\n"
      "function __tidelog_topics\n"
      "  set -l line (commandline -opc)\n"
      "  set -l place\n"
      "  for i in (seq 2 (count $line))\n"
      "    switch $line[$i]\n";
  const PlaceFlags places = place_flags(commands);
  script += fmt::format(
      "      case {}\n        set -a place $line[$i] $line[(math $i + 1)]\n"
      "      case '{}*'\n        set -a place $line[$i]\n    end\n  end\n",
      fmt::join(places.names, " "), fmt::join(places.attached, "*' '"));
  script +=
      "  timeout 3 $line[1] topic list $place 2>/dev/null | sed -e 1d -e 's/ .*//'\n"
      "end\n"
      "complete -c tidelog -f\n";
  const auto offers = [](const Words& words) {
    std::string text = fmt::format("{}", fmt::join(words.choices, " "));
    if (words.is_topic) text += " (__tidelog_topics)";
    return text.empty() ? "" : fmt::format(" -a \"{}\"", text);
  };
  for (const Command& command : commands) {
    const std::string start =
        fmt::format("complete -c tidelog -n \"__tidelog_at '{}'\"", command.path);
    for (const Command& one : commands) {
      if (one.path.empty() || one.path != command.path + "/" + one.name) continue;
      script += fmt::format("{} -a {} -d {}\n", start, one.name, fish_quoted(one.description));
    }
    for (const Flag& flag : command.flags) {
      script += start;
      for (const std::string& name : flag.names) {
        script += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (flag.takes_value) script += (flag.value.is_file ? " -r -F" : " -x") + offers(flag.value);
      script += fmt::format(" -d {}\n", fish_quoted(flag.description));
    }
    if (command.words.is_file) script += start + " -F\n";
    const std::string words = offers(command.words);
    if (!words.empty()) script += start + words + "\n";
  }
  return script;
}

}  // namespace tidelog::tools
