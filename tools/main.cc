// The `tidelog` command.
#include "tools/command_line.h"
#include "tools/commands/commands.h"
#include "tools/standard_streams.h"

int main(int argc, char** argv) {
  tidelog::tools::open_missing_standard_streams();
  tidelog::tools::CommandLine line;
  tidelog::tools::add_all_commands(line);
  return line.run(argc, argv);
}
