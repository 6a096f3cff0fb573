#include "tools/confirmation.h"

#include <unistd.h>

#include <array>

#include "tools/output.h"

namespace tidelog::tools {

bool can_ask() { return isatty(STDIN_FILENO) == 1; }

bool confirm(const std::string& question) {
  print_error_text(question);
  std::string answer;
  std::array<char, 64> bytes;
  while (!answer.ends_with('\n')) {
    const ssize_t got = read(STDIN_FILENO, bytes.data(), bytes.size());
    if (got <= 0) break;
    answer.append(bytes.data(), static_cast<std::size_t>(got));
  }
  return answer == "y\n" || answer == "yes\n" || answer == "Y\n";
}

}  // namespace tidelog::tools
