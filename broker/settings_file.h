// Reads a TOML file of settings into plain names and values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace tidelog::broker {

struct FileSetting {
  std::string name;   // dotted: tables and dotted keys are the same thing
  std::string value;  // as a flag would give it
  unsigned line = 0;  // from 1
  // Of a list, then without `value`: each as a flag would give it.
  std::optional<std::vector<std::string>> items{};
};

enum class Lists { kRefuse, kTake };

// In the order of the lines. Reads the file; blocks. Fails with kNotFound, and kInvalidSetting (no
// TOML, or a value that is neither text, whole number nor boolean, nor, with Lists::kTake, a list
// of such); messages begin with "FILE:LINE".
Result<std::vector<FileSetting>> read_settings_file(const std::string& path,
                                                    Lists lists = Lists::kRefuse);

}  // namespace tidelog::broker
