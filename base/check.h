// CHECK: broken invariants end the process, in release builds too.
//
// An operating error (a full disk, a bad frame) is never a CHECK: it is a Result (base/result.h).
// A CHECK states something that can only be false when the program itself is wrong; going on would
// risk acknowledged data.
#pragma once

#include <string_view>

namespace tidelog {

// Prints the condition, the place and the message to stderr and aborts.
[[noreturn]] void check_failed(std::string_view condition, std::string_view file, int line,
                               std::string_view message);

}  // namespace tidelog

// REQUIRES: `message` says what the reader of a crash report should know.
#define TIDELOG_CHECK(condition, message)                                 \
  do {                                                                    \
    if (!(condition)) [[unlikely]]                                        \
      ::tidelog::check_failed(#condition, __FILE__, __LINE__, (message)); \
  } while (false)
