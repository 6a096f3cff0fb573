// A question before something that cannot be undone.
#pragma once

#include <string>

namespace tidelog::tools {

// Whether there is somebody to ask: standard input is a terminal.
bool can_ask();
// Asks on the terminal. Anything but y or yes means no.
bool confirm(const std::string& question);

}  // namespace tidelog::tools
