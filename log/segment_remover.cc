#include "log/segment_remover.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "log/file_removal.h"
#include "log/io/storage_error.h"
#include "log/segment_format.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

// A read under way holds the segment, or its file while an operation is in flight.
bool unread(const std::shared_ptr<Segment>& segment) {
  return segment.use_count() == 1 && segment->file.use_count() <= 1;
}

// The whole log may be on its way out, directory and all.
Result<> unless_gone(Result<> result) {
  if (!result && result.error().code() == ErrorCode::kNotFound) return {};
  return result;
}

Result<> make_stable(io::FileSystem& files, const std::string& path) {
  auto file = files.open(path, {.mode = io::OpenMode::kWrite, .direct = false});
  if (!file) return unless_gone(fail(std::move(file).error()));
  return (*file)->sync_data();
}

// Of the indexes below the oldest segment only the newest is of use: it knows the producers of all
// that is gone.
Result<> remove_old_indexes(io::FileSystem& files, const std::string& directory) {
  const auto entries = files.list(directory);
  if (!entries) return unless_gone(fail(entries.error()));
  std::optional<Offset> oldest;
  std::vector<Offset> indexes;
  for (const io::DirectoryEntry& entry : *entries) {
    if (const auto base = parse_segment_file_name(entry.name)) {
      oldest = std::min(oldest.value_or(*base), *base);
    }
    if (const auto base = parse_index_file_name(entry.name)) indexes.push_back(*base);
  }
  std::erase_if(indexes, [&](Offset base) { return !oldest || base >= *oldest; });
  if (indexes.size() < 2) return {};
  indexes.erase(std::ranges::max_element(indexes));
  for (const Offset base : indexes) {
    TIDELOG_TRY(remove_in_steps(files, directory + "/" + index_file_name(base)));
  }
  return unless_gone(files.sync_directory(directory));
}

Result<> remove_files(io::FileSystem& files, const Segment& segment) {
  const std::string directory = parent_of(segment.path);
  TIDELOG_TRY(make_stable(files, segment.index_path()));
  TIDELOG_TRY(remove_in_steps(files, segment.path));
  TIDELOG_TRY(unless_gone(files.sync_directory(directory)));
  return remove_old_indexes(files, directory);
}

}  // namespace

void SegmentRemover::start() {
  if (running_ || context_.failure || context_.closing) return;
  const auto next = std::ranges::find_if(waiting_, unread);
  if (next == waiting_.end()) return;
  const std::shared_ptr<Segment> segment = std::move(*next);
  waiting_.erase(next);
  running_ = true;
  running_directory_ = parent_of(segment->path);
  segment->file.reset();
  context_.run_removal<void>(
      [files = context_.files, segment] { return remove_files(*files, *segment); },
      [this, segment](Result<> removed) {
        running_ = false;
        auto forgotten = std::exchange(forgotten_, {});
        if (!removed && io::is_final(removed.error())) {
          context_.fail(removed.error());
        } else if (!removed && forgotten.empty()) {
          add(segment);  // tried again when start() is called next
        } else {
          start();
        }
        for (auto& done : forgotten) done();
      });
}

void SegmentRemover::forget(const std::string& directory, std::move_only_function<void()> done) {
  std::erase_if(waiting_, [&](const std::shared_ptr<Segment>& segment) {
    return parent_of(segment->path) == directory;
  });
  if (running_ && running_directory_ == directory) {
    forgotten_.push_back(std::move(done));
  } else {
    done();
  }
}

}  // namespace tidelog::log
