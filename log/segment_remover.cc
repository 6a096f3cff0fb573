#include "log/segment_remover.h"

#include <algorithm>
#include <utility>

#include "log/file_removal.h"
#include "log/io/storage_error.h"
#include "log/slot_file.h"

namespace tidelog::log {
namespace {

// A read under way holds the segment, or its file while an operation is in flight.
bool unread(const std::shared_ptr<Segment>& segment) {
  return segment.use_count() == 1 && segment->file.use_count() <= 1;
}

Result<> remove_files(io::FileSystem& files, const Segment& segment) {
  TIDELOG_TRY(remove_in_steps(files, segment.index_path()));
  TIDELOG_TRY(remove_in_steps(files, segment.path));
  // The whole log may be on its way out, directory and all.
  const auto synced = files.sync_directory(parent_of(segment.path));
  if (!synced && synced.error().code() != ErrorCode::kNotFound) return synced;
  return {};
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
  context_.run_blocking<void>(
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
