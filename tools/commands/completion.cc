// tidelog completion: scripts that make shells complete the command line.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "tools/commands/commands.h"
#include "tools/completion.h"
#include "tools/output.h"

namespace tidelog::tools {
namespace {

Result<int> print_completion(const CLI::App& root, const std::string& shell) {
  Output out(STDOUT_FILENO);
  if (shell == "bash") {
    out.text() = bash_completion(root);
  } else if (shell == "zsh") {
    out.text() = zsh_completion(root);
  } else if (shell == "fish") {
    out.text() = fish_completion(root);
  } else {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("there is no completion for '{}'; there are bash, zsh and fish", shell));
  }
  TIDELOG_TRY(out.flush());
  return kExitDone;
}

}  // namespace

void add_completion_command(CommandLine& line) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = line.add_command(
      line.root(), "completion", "Print a script that makes a shell complete tidelog's commands",
      "  source <(tidelog completion bash)      in ~/.bashrc\n"
      "  source <(tidelog completion zsh)       in ~/.zshrc, behind compinit\n"
      "  tidelog completion fish | source       in ~/.config/fish/config.fish",
      [&line, shell] { return print_completion(line.root(), *shell); });
  command->add_option("shell", *shell, "The shell")->type_name("bash|zsh|fish")->required();
}

}  // namespace tidelog::tools
