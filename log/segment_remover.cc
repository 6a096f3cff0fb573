#include "log/segment_remover.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "log/file_removal.h"
#include "log/io/storage_error.h"
#include "log/rules.h"
#include "log/segment_format.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

// How much of a log goes at once. A stop waits for as much; less would let logs with small segments
// be written faster than they are removed, as each time costs syncs.
constexpr std::uint64_t kBytesAtOnce = std::uint64_t{64} << 20;
constexpr std::size_t kSegmentsAtOnce = 256;

// A read under way holds the segment, or its file while an operation is in flight.
bool unread(const std::shared_ptr<Segment>& segment) {
  if (broken(Rule::kReadersKeepFiles)) return true;
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
  if (!broken(Rule::kLastIndexStays)) {
    if (indexes.size() < 2) return {};
    indexes.erase(std::ranges::max_element(indexes));
  }
  for (const Offset base : indexes) {
    TIDELOG_TRY(remove_in_steps(files, directory + "/" + index_file_name(base)));
  }
  return unless_gone(files.sync_directory(directory));
}

// Of one log, the oldest first.
Result<> remove_files(io::FileSystem& files,
                      const std::vector<std::shared_ptr<Segment>>& segments) {
  const std::string directory = parent_of(segments.back()->path);
  // The only one of their indexes that stays.
  if (!broken(Rule::kLastIndexIsSynced)) {
    TIDELOG_TRY(make_stable(files, segments.back()->index_path()));
    TIDELOG_TRY(unless_gone(files.sync_directory(directory)));  // its name, too
  }
  for (const auto& segment : segments) TIDELOG_TRY(remove_in_steps(files, segment->path));
  TIDELOG_TRY(unless_gone(files.sync_directory(directory)));
  return remove_old_indexes(files, directory);
}

}  // namespace

std::vector<std::shared_ptr<Segment>> SegmentRemover::take_next() {
  std::vector<std::shared_ptr<Segment>> taken;
  std::uint64_t bytes = 0;
  for (auto& segment : waiting_) {
    if (!unread(segment)) continue;
    if (!taken.empty() && parent_of(segment->path) != parent_of(taken.front()->path)) continue;
    bytes += segment->summary.bytes;
    if (!taken.empty() && bytes > kBytesAtOnce) break;
    taken.push_back(std::move(segment));
    if (taken.size() == kSegmentsAtOnce) break;
  }
  std::erase(waiting_, nullptr);
  return taken;
}

void SegmentRemover::start() {
  if (running_ || context_.failure || context_.closing) return;
  std::vector<std::shared_ptr<Segment>> segments = take_next();
  if (segments.empty()) return;
  running_ = true;
  running_directory_ = parent_of(segments.front()->path);
  for (const auto& segment : segments) segment->file.reset();
  context_.run_removal<void>(
      [files = context_.files, segments] { return remove_files(*files, segments); },
      [this, segments](Result<> removed) {
        running_ = false;
        auto forgotten = std::exchange(forgotten_, {});
        if (!removed && io::is_final(removed.error())) {
          context_.fail(removed.error());
        } else if (!removed && forgotten.empty()) {
          // Tried again when start() is called next.
          waiting_.insert(waiting_.begin(), segments.begin(), segments.end());
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
