#include "tests/sim/crash_policy.h"

namespace tidelog::sim {

std::string CrashPolicy::to_string() const {
  switch (kind_) {
    case Kind::kNothing:
      return "nothing un-synced survives";
    case Kind::kEverything:
      return "everything survives";
    case Kind::kDataOnly:
      return "only contents survive";
    case Kind::kNamesOnly:
      return "only names survive";
    case Kind::kTorn:
      return "every un-synced block is torn";
    case Kind::kOnly:
      return "only change " + std::to_string(value_) + " survives";
    case Kind::kAllBut:
      return "all but change " + std::to_string(value_) + " survive";
    case Kind::kRandom:
      return "a random part survives, seed " + std::to_string(value_);
  }
  return "unknown";
}

bool CrashChooser::chosen(bool is_name) {
  const std::uint64_t change = next_++;
  switch (policy_.kind_) {
    case CrashPolicy::Kind::kNothing:
      return false;
    case CrashPolicy::Kind::kEverything:
      return true;
    case CrashPolicy::Kind::kDataOnly:
      return !is_name;
    case CrashPolicy::Kind::kNamesOnly:
    case CrashPolicy::Kind::kTorn:
      return is_name;
    case CrashPolicy::Kind::kOnly:
      return change == policy_.value_;
    case CrashPolicy::Kind::kAllBut:
      return change != policy_.value_;
    case CrashPolicy::Kind::kRandom:
      return random_.one_in(2);
  }
  return false;
}

CrashChooser::Data CrashChooser::next_data() {
  if (policy_.kind_ == CrashPolicy::Kind::kTorn) return {Part::kTorn, true};
  if (policy_.kind_ != CrashPolicy::Kind::kRandom) {
    const bool all = chosen(false);
    return {all ? Part::kAll : Part::kNone, all};
  }
  ++next_;
  const bool size = !random_.one_in(3);
  switch (random_.below(4)) {
    case 0:
      return {Part::kNone, size};
    case 1:
      return {Part::kAll, size};
    default:
      return {Part::kSome, size};
  }
}

bool CrashChooser::next_name() { return chosen(true); }

}  // namespace tidelog::sim
