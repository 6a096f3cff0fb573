// The rules of the storage (log/rules.h) and, for each, what notices when it is broken.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <string>

#ifndef TIDELOG_BREAKABLE_RULES
#define TIDELOG_BREAKABLE_RULES
#endif
#include "log/rules.h"

namespace tidelog::log {

struct RuleCase {
  Rule rule;
  const char* name;
  const char* text;
  // Random histories from this seed on notice it; 0: they do not.
  std::uint64_t seed;
  // These tests of log_tests do, as a filter.
  const char* tests;
};
inline void PrintTo(const RuleCase& one, std::ostream* out) { *out << one.name; }

std::span<const RuleCase> rule_cases();
std::string rules_as_markdown();

}  // namespace tidelog::log
