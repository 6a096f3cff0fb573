#include "tools/command_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

#include "base/error.h"
#include "tools/argument_words.h"
#include "tools/environment_names.h"
#include "tools/help_formatter.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/profiles.h"
#include "tools/suggestion.h"

namespace tidelog::tools {
namespace {

// The command that the words so far led to.
const CLI::App& innermost(const CLI::App& root) {
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().back();
  return *app;
}

std::string path_of(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "tidelog";
  return path_of(*app.get_parent()) + " " + app.get_name();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  const auto any = [](const CLI::App*) { return true; };
  for (const CLI::App* command : app.get_subcommands(any)) names.push_back(command->get_name());
  return names;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// What is wrong with a word that no command or option takes.
std::string explain_extra(const CLI::App& app, const std::string& marked_word) {
  const std::string word = plain_word(marked_word);
  if (word.size() > 1 && word.starts_with('-')) {
    const std::string name = word.substr(0, word.find('='));
    // A single letter is close to every other one, so that says nothing.
    const std::string close = name.size() > 2 ? did_you_mean(name, option_names(app)) : "";
    return fmt::format("{} has no option '{}'{}", path_of(app), name, close);
  }
  const std::vector<std::string> commands = command_names(app);
  if (commands.empty()) return fmt::format("{} does not take '{}'", path_of(app), word);
  const std::string close = did_you_mean(word, commands);
  return fmt::format("{} has no command '{}'{}", path_of(app), word,
                     close.empty() ? "; there are " + join(commands) : close);
}

// Of an option of `command` that stands before the command's name, behind that of `app`.
std::optional<std::string> explain_too_early(const CLI::App& app, const CLI::App& command,
                                             const std::string& marked_word) {
  const std::string word = plain_word(marked_word);
  if (&app == &command || word.size() < 2 || !word.starts_with('-')) return std::nullopt;
  const std::string name = word.substr(0, word.find('='));
  const CLI::Option* option = command.get_option_no_throw(name);
  if (option == nullptr) return std::nullopt;
  const bool is_flag = option->get_expected_max() == 0;
  return fmt::format("{} stands before the command; write it behind: {} {}{}", name,
                     path_of(command), name, is_flag ? "" : " " + option->get_type_name());
}

int usage_error(const CLI::App& app, std::string_view sentence) {
  print_error_text(
      fmt::format("tidelog: {}\nSee what there is with: {} --help\n", sentence, path_of(app)));
  return kExitUsage;
}

Result<int> print(const std::string& text) {
  Output out(STDOUT_FILENO);
  out.text() = text;
  TIDELOG_TRY(out.flush());
  return kExitDone;
}

// Errors met in this process; those of the brokers arrive with their hints.
std::string in_words(const Error& error) {
  // Its hint is for who runs a broker, not for who reads a file or writes to a full disk here.
  const bool is_local = error.code() == ErrorCode::kStorageFailed;
  if (is_local || error.info().hint.empty()) return error.message();
  if (error.code() == ErrorCode::kDirectoryInUse) return error.message() + "; stop it first";
  return fmt::format("{}; {}", error.message(), error.info().hint);
}

// The profile that the line or the environment names; `words` as marked_words() gives them.
std::optional<std::string> wanted_profile(const std::vector<std::string>& words) {
  const std::string assigned = std::string(kProfileFlag) + "=";
  for (auto word = words.rbegin(); word != words.rend(); ++word) {
    if (word->starts_with(assigned)) return word->substr(assigned.size());
    if (*word == kProfileFlag && std::next(word) != words.rend()) return *std::next(word);
  }
  const char* variable = std::getenv("TIDELOG_PROFILE");
  if (variable == nullptr || variable[0] == '\0') return std::nullopt;
  return variable;
}

// Adds the options that a variable of the process sets, unless something nearer gave them.
void add_variables(const std::vector<FlagVariable>& flags, Origin origin, GivenOptions& given) {
  for (const FlagVariable& flag : flags) {
    const char* value = std::getenv(flag.variable.c_str());
    if (value == nullptr || value[0] == '\0') continue;
    if (flag.option->get_expected_max() == 0 && is_off(value)) continue;
    given.try_emplace(flag.option, Given{.origin = origin});
  }
}

// The option that was given more often than it may be.
const CLI::Option* repeated_option(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_expected_max() == 1 && option->count() > 1) return option;
  }
  return nullptr;
}

bool is_quiet(const CLI::App& command) {
  const CLI::Option* flag = command.get_option_no_throw("--quiet");
  return flag != nullptr && flag->count() > 0 && flag->as<bool>();
}

// The first word that must be there and is not.
const CLI::Option* missing_option(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_required() && option->count() == 0) return option;
  }
  return nullptr;
}

// NAME of a positional, --flag VALUE of an option.
std::string name_in_usage(const CLI::Option& option) {
  if (option.get_positional()) return option.get_type_name();
  return fmt::format("{} {}", option.get_name(), option.get_type_name());
}

}  // namespace

CommandLine::CommandLine()
    : root_("Tidelog, an event-streaming broker: its server and its tools.", "tidelog") {
  root_.set_version_flag("--version", "tidelog " TIDELOG_VERSION);
  root_.set_help_flag("-h,--help", "Print this help and exit");
  root_.require_subcommand(1);
  root_.formatter(std::make_shared<HelpFormatter>());
  root_.footer(
      "Example:\n"
      "  tidelog broker &\n"
      "  tidelog topic create events -p 4\n"
      "  echo hello | tidelog produce events\n"
      "  tidelog consume events -e\n"
      "Each command has its own --help. Exit codes: 0 done, 1 failed or partly done, 2 wrong "
      "usage.");
}

CLI::App* CommandLine::add_command(CLI::App& parent, const std::string& name,
                                   const std::string& description, const std::string& example,
                                   std::function<Result<int>()> run) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->footer("Example:\n" + example);
  if (run) command->callback([this, run = std::move(run)] { chosen_ = run; });
  return command;
}

void CommandLine::add_yields(const CLI::App& command, std::vector<Yield> yields) {
  std::ranges::move(yields, std::back_inserter(yields_[&command]));
}

void CommandLine::add_rivals(const CLI::App& command, const std::string& one,
                             const std::string& other) {
  add_yields(command, {{.option = one, .to = other}, {.option = other, .to = one}});
}

int CommandLine::run(int argc, const char* const* argv) {
  prepare_signals();
  if (argc <= 1) {
    print_error_text(root_.help());
    return kExitUsage;
  }
  finish_commands();
  words_ = marked_words(root_, argc, argv);
  try {
    std::vector<std::string> words = words_;  // parse() takes them away
    root_.parse(words);
    if (profile_error_) return usage_error(innermost(root_), profile_error_->message());
  } catch (const CLI::CallForVersion& version) {
    chosen_ = [text = fmt::format("{}\n", version.what())] { return print(text); };
  } catch (const CLI::CallForHelp&) {
    warnings_.clear();
    const CLI::App& app = innermost(root_);
    const std::string prefix = app.get_parent() == nullptr ? "" : path_of(*app.get_parent());
    chosen_ = [text = app.help(prefix)] { return print(text); };
  } catch (const CLI::ParseError& error) {
    return report_usage_error(error);
  }
  return run_chosen();
}

// What all commands have in common, once all are there.
void CommandLine::finish_commands() {
  read_words_plainly(root_);
  for (CLI::App* command : leaf_commands(root_)) {
    command->preparse_callback([this, command](std::size_t) { prepare_chosen(*command); });
  }
}

// Only the chosen command looks at its variables: a bad value for another one is no matter here.
void CommandLine::prepare_chosen(CLI::App& command) {
  // Before any gets its name below: an option that has one already counts as shared.
  std::vector<FlagVariable> known;
  std::set<std::string> variables;
  for (CLI::App* other : leaf_commands(root_)) {
    const bool takes_profiles = other->get_option_no_throw(kProfileFlag) != nullptr;
    for (FlagVariable& flag : flag_variables(*other)) {
      variables.insert(flag.variable);
      if (takes_profiles) known.push_back(std::move(flag));
    }
  }
  const std::vector<FlagVariable> flags = flag_variables(command);
  warnings_ = complain_about_variables(command, flags, variables);
  for (const FlagVariable& flag : flags) flag.option->envname(flag.variable);
  on_line_ = given_on_line(command, words_);
  if (command.get_option_no_throw(kProfileFlag) == nullptr) return;
  GivenOptions given = on_line_;
  add_variables(flags, Origin::kVariable, given);
  const auto applied = apply_profile(profiles_path(), wanted_profile(words_), known);
  // Told only when the command runs: --help works beside a broken file.
  if (!applied) profile_error_ = applied.error();
  add_variables(flags, Origin::kProfile, given);
  const auto silent = outranked_options(command, yields_[&command], given);
  for (const FlagVariable& flag : flags) {
    if (silent.contains(flag.option)) {
      unsetenv(flag.variable.c_str());
    } else if (applied && applied->contains(flag.variable) && !on_line_.contains(flag.option)) {
      flag.option->add_result(applied->at(flag.variable));  // instead of what the variable says
    }
  }
}

// Of a usage error: the variable that it is about, when the value did not stand on the line.
std::string CommandLine::origin_of(const CLI::App& app, std::string_view message) const {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_envname().empty() || on_line_.contains(option)) continue;
    const char* value = std::getenv(option->get_envname().c_str());
    if (value == nullptr || value[0] == '\0') continue;
    const bool is_its_own = message.starts_with(option->get_name() + ": ");
    const bool names_both =
        message.find(option->get_name()) != message.npos && message.find(value) != message.npos;
    const bool quotes_value = message.find(fmt::format("'{}'", value)) != message.npos;
    if (!is_its_own && !names_both && !quotes_value) continue;
    return fmt::format(" (from {} or a profile)", option->get_envname());
  }
  return "";
}

int CommandLine::run_chosen() {
  if (!is_quiet(innermost(root_))) {
    for (const std::string& warning : warnings_) {
      print_error_text(fmt::format("tidelog: {}\n", warning));
    }
  }
  const Result<int> code = chosen_();
  if (code) return *code;
  if (code.error().code() == ErrorCode::kInvalidArgument) {
    const CLI::App& app = innermost(root_);
    const std::string& message = code.error().message();
    return usage_error(app, message + origin_of(app, message));
  }
  print_error_text(fmt::format("tidelog: {}\n", in_words(code.error())));
  return kExitFailed;
}

int CommandLine::report_usage_error(const CLI::ParseError& error) {
  const CLI::App& app = innermost(root_);
  // A mistyped command also makes required words missing, so it is looked at first; the outermost
  // before all, since a known word behind it was not meant as a command.
  for (const CLI::App* at = &root_;; at = at->get_subcommands().back()) {
    const std::vector<std::string> extras = at->remaining();
    if (!extras.empty()) {
      const auto too_early = explain_too_early(*at, app, extras.front());
      return usage_error(too_early ? app : *at,
                         too_early ? *too_early : explain_extra(*at, extras.front()));
    }
    if (at->get_subcommands().empty()) break;
  }
  if (!command_names(app).empty()) {
    return usage_error(
        app, fmt::format("{} needs a command: {}", path_of(app), join(command_names(app))));
  }
  if (const CLI::Option* option = repeated_option(app)) {
    return usage_error(app, fmt::format("{} is there {}; give it once", option->get_name(),
                                        option->count() == 2 ? "twice" : "several times"));
  }
  if (const CLI::Option* option = missing_option(app)) {
    return usage_error(app, fmt::format("{} needs {}", path_of(app), name_in_usage(*option)));
  }
  return usage_error(app, error.what() + origin_of(app, error.what()));
}

CLI::Option* add_repeated(CLI::App& command, const std::string& names,
                          std::vector<std::string>& values, const std::string& description) {
  return command.add_option(names, values, description)->allow_extra_args(false)->take_all();
}

}  // namespace tidelog::tools
