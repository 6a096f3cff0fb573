#include "tools/commands/commands.h"

namespace tidelog::tools {

void add_all_commands(CommandLine& line) {
  add_broker_command(line);
  add_topic_commands(line);
  add_produce_command(line);
  add_consume_command(line);
  add_offset_command(line);
  add_cluster_commands(line);
  add_log_commands(line);
  add_bench_commands(line);
  add_completion_command(line);
}

}  // namespace tidelog::tools
