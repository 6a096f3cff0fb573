// What the command line library would misread, put out of its way.
//
// CLI11 2.1 splits a positional word "[a,b]" at its commas, hands words behind "--" to the parent
// command, and reads numbers as C does ("010" is 8, "-5" a huge unsigned number).
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tidelog::tools {

// The words of argv behind the program's name, last first as CLI::App::parse() wants them; those
// that would be misread carry a mark. A "--" that is the value of an option is not the one that
// ends the options. REQUIRES: read_words_plainly(root) was called.
std::vector<std::string> marked_words(const CLI::App& root, int argc, const char* const* argv);

// `word` without its mark.
std::string plain_word(std::string word);

// Makes all options of `app` and its commands take the marks off their values, and read numbers as
// decimal ones. Call once, when all options are there.
void read_words_plainly(CLI::App& app);

}  // namespace tidelog::tools
