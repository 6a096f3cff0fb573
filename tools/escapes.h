// Escapes in what a person types: \n \t \r \0 \\ \" and \xHH.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tidelog::tools {

// Reads the escape that begins `text` (with its backslash), appends its byte and returns its
// length. Fails with kInvalidArgument.
Result<std::size_t> read_escape(std::string_view text, std::string& out);

// The bytes that `text` stands for. Fails with kInvalidArgument.
Result<std::string> unescape(std::string_view text);

}  // namespace tidelog::tools
