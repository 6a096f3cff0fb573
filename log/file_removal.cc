#include "log/file_removal.h"

namespace tidelog::log {
namespace {
constexpr std::uint64_t kStepBytes = std::uint64_t{64} << 20;
}

Result<> remove_in_steps(io::FileSystem& files, const std::string& path) {
  // Somebody else may be removing the same file: a log's own clean-up, and its removal as a whole.
  const auto unless_gone = [](Result<> result) -> Result<> {
    if (!result && result.error().code() == ErrorCode::kNotFound) return {};
    return result;
  };
  auto opened = files.open(path, {.mode = io::OpenMode::kWrite, .direct = false});
  if (!opened) return unless_gone(fail(std::move(opened).error()));
  const std::unique_ptr<io::File> file = std::move(*opened);
  TIDELOG_ASSIGN(std::uint64_t size, file->size());
  while (size > kStepBytes) {
    size -= kStepBytes;
    TIDELOG_TRY(file->truncate(size));
  }
  return unless_gone(files.remove_file(path));
}

}  // namespace tidelog::log
