#include "log/verify_index.h"

#include <fmt/core.h>

#include <utility>

#include "log/slot_file.h"

namespace tidelog::log {
namespace {

constexpr std::uint64_t kIndexBytesMax = std::uint64_t{256} << 20;

}  // namespace

Result<IndexCheck> IndexCheck::load(io::FileSystem& files, const std::string& path,
                                    std::uint64_t file_id, Offset base, std::uint64_t size) {
  IndexCheck check(base);
  const auto bytes = read_whole_file(files, path, kIndexBytesMax);
  if (!bytes) return check;
  check.index_ = decode_index(*bytes);
  if (!check.index_) return check;
  const SegmentSummary& said = check.index_->summary;
  if (said.file_id != file_id || said.base != base || said.bytes > size) check.index_.reset();
  if (check.index_) check.write_ended(io::kBlockBytes, 0);  // it may cover none yet
  return check;
}

void IndexCheck::differs(std::string what) {
  if (!problem_) problem_ = std::move(what);
}

void IndexCheck::check_newest(const IndexEntry& entry, std::uint64_t up_to) {
  if (entry.max_timestamp_ms >= seen_.max_timestamp_ms) return;  // a cut leaves what was
  differs(fmt::format("{} ms as the newest timestamp before byte {}, which is {}",
                      entry.max_timestamp_ms, up_to, seen_.max_timestamp_ms));
}

void IndexCheck::batch(std::uint64_t position, const wire::BatchView& batch) {
  if (!index_ || compared_) return;
  const auto& entries = index_->index.entries;
  if (next_entry_ < entries.size() && entries[next_entry_].position <= position) {
    const IndexEntry& entry = entries[next_entry_];
    if (entry.position != position || entry.base != batch.base_offset()) {
      differs(fmt::format("offset {} at byte {}, where no batch with it begins", entry.base.value(),
                          entry.position));
    }
    if (next_entry_ > 0) check_newest(entries[next_entry_ - 1], entry.position);
    ++next_entry_;
  }
  seen_.add(batch);
}

void IndexCheck::write_ended(std::uint64_t position, std::uint64_t sequence) {
  if (!index_ || compared_ || position < index_->summary.bytes) return;
  compared_ = true;
  const SegmentSummary& said = index_->summary;
  if (position != said.bytes || said.last_sequence != sequence) {
    return differs(fmt::format("write {} ending at byte {}, but write {} ends at byte {}",
                               said.last_sequence, said.bytes, sequence, position));
  }
  if (said.end != seen_.end) {
    return differs(fmt::format("end offset {}, which is {}", said.end.value(), seen_.end.value()));
  }
  if (said.epochs != seen_.epochs || said.last_epoch != seen_.last_epoch) {
    return differs("other leader epochs than its batches have");
  }
  if (said.max_timestamp_ms < seen_.max_timestamp_ms ||
      said.last_append_time_us < seen_.last_append_time_us) {
    return differs("older times than its batches have");
  }
  const auto& entries = index_->index.entries;
  if (next_entry_ < entries.size()) {
    return differs(fmt::format("offset {} at byte {}, behind all that it covers",
                               entries[next_entry_].base.value(), entries[next_entry_].position));
  }
  if (!entries.empty()) check_newest(entries.back(), said.bytes);
}

std::optional<std::string> IndexCheck::finish(bool covers_all) {
  if (index_ && covers_all && !compared_) {
    differs(fmt::format("an end at byte {}, where nothing is", index_->summary.bytes));
  }
  return std::move(problem_);
}

}  // namespace tidelog::log
