#include "broker/recovery_lines.h"

#include <fmt/core.h>

namespace tidelog::broker {

std::optional<std::string> RecoveryLines::next(const log::RecoveryProgress& progress) {
  const SteadyTime now = clock_.now();
  if (now - told_at_ < kInterval) return std::nullopt;
  told_at_ = now;
  return fmt::format(
      "still recovering: {} of {} journals read, {} of {} logs examined, {} recovered",
      progress.journals_read, progress.journals, progress.logs_examined, progress.logs,
      progress.logs_recovered);
}

}  // namespace tidelog::broker
