// What the log says of a start that takes long: a line every few seconds, so that nobody takes it
// for one that hangs.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/clock.h"
#include "log/log_store.h"

namespace tidelog::broker {

// Thread: one.
class RecoveryLines {
 public:
  static constexpr std::chrono::seconds kInterval{5};

  // The recovery begins now. `clock` outlives this.
  explicit RecoveryLines(const Clock& clock) : clock_(clock), told_at_(clock.now()) {}

  // The line to write now, if one is due.
  std::optional<std::string> next(const log::RecoveryProgress& progress);

 private:
  const Clock& clock_;
  SteadyTime told_at_;
};

}  // namespace tidelog::broker
