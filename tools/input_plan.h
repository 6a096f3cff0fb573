// The flags of produce that say how its input becomes records.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/command_line.h"
#include "tools/record_source.h"

namespace tidelog::tools {

struct InputFlags {
  std::optional<std::string> key;
  std::optional<std::string> key_delimiter;
  std::optional<std::int32_t> partition;
  std::vector<std::string> headers;
  std::optional<std::string> delimiter;
  std::optional<std::string> format;
  bool is_whole = false;
  bool nulls_empty = false;
  bool is_json = false;  // the summary too, so that it may go with other input
  bool keeps_partition = false;

  void add_to(CommandLine& line, CLI::App& command);
  // The input is JSON: asked for, and no other flag says how the input looks.
  bool reads_json() const {
    return is_json && !is_whole && !format && !delimiter && !key_delimiter;
  }
};

// How to read `files` into records of `topic`. Fails with kInvalidArgument: flags that contradict
// each other or are not understood.
Result<RecordSourceOptions> plan_input(const InputFlags& flags, const std::string& topic,
                                       std::vector<std::string> files);

}  // namespace tidelog::tools
