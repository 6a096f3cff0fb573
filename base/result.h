// Result<T>: a value or an Error (base/error.h). Never ignored, never thrown.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace tidelog {

template <typename T = void>
using Result = std::expected<T, Error>;

// Makes a failed Result: `return fail(ErrorCode::kUnknownTopic, fmt::format(...))`.
inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

}  // namespace tidelog

#define TIDELOG_CONCAT_INNER(a, b) a##b
#define TIDELOG_CONCAT(a, b) TIDELOG_CONCAT_INNER(a, b)

// Returns the error of `expression` (a Result of anything) from this function, if it has one.
#define TIDELOG_TRY(expression)                                  \
  do {                                                           \
    auto tidelog_result = (expression);                          \
    if (!tidelog_result) [[unlikely]]                            \
      return ::tidelog::fail(std::move(tidelog_result).error()); \
  } while (false)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
// `TIDELOG_ASSIGN(auto file, open(path));` declares `file`, or returns the error.
#define TIDELOG_ASSIGN(declaration, expression) \
  TIDELOG_ASSIGN_INNER(TIDELOG_CONCAT(tidelog_result_, __LINE__), declaration, expression)
#define TIDELOG_ASSIGN_INNER(result, declaration, expression) \
  auto result = (expression);                                 \
  if (!result) [[unlikely]]                                   \
    return ::tidelog::fail(std::move(result).error());        \
  declaration = std::move(result).value()
// NOLINTEND(bugprone-macro-parentheses)
