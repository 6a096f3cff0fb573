// The commands, one file per noun. Each function adds what its noun offers.
#pragma once

#include "tools/command_line.h"

namespace tidelog::tools {

// All of them, in the order of the help.
void add_all_commands(CommandLine& line);

void add_broker_command(CommandLine& line);
void add_topic_commands(CommandLine& line);
void add_cluster_commands(CommandLine& line);
void add_produce_command(CommandLine& line);
void add_consume_command(CommandLine& line);
void add_offset_command(CommandLine& line);
void add_log_commands(CommandLine& line);
void add_bench_commands(CommandLine& line);
void add_completion_command(CommandLine& line);

}  // namespace tidelog::tools
