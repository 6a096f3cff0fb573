// The `tidelog` command.
#include "tools/command_line.h"
#include "tools/commands/commands.h"
#include "tools/standard_streams.h"

int main(int argc, char** argv) {
  tidelog::tools::open_missing_standard_streams();
  tidelog::tools::CommandLine line;
  tidelog::tools::add_broker_command(line);
  tidelog::tools::add_topic_commands(line);
  tidelog::tools::add_produce_command(line);
  tidelog::tools::add_consume_command(line);
  tidelog::tools::add_cluster_commands(line);
  tidelog::tools::add_log_commands(line);
  return line.run(argc, argv);
}
