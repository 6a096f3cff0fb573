#include "log/inspect.h"

#include <fmt/core.h>

#include <algorithm>

#include "log/data_directory.h"
#include "log/segment_format.h"
#include "log/segment_scan.h"
#include "log/verify_directory.h"

namespace tidelog::log {
namespace {

// What a running broker is writing may look torn for a moment; it never does so this often.
constexpr int kAttempts = 3;

std::string name_of(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

// Walks one segment, reporting into `report`. `last`: what follows may still be written.
Result<> verify_segment(io::FileSystem& files, const std::string& path, bool last,
                        PartitionReport& report) {
  TIDELOG_ASSIGN(auto file, files.open(path, {.mode = io::OpenMode::kRead, .direct = true}));
  TIDELOG_ASSIGN(const std::uint64_t size, file->size());
  FileWindow front(*file, size, io::kBlockBytes, Unreadable::kIsUnsound);
  TIDELOG_ASSIGN(const auto block, front.at(0, io::kBlockBytes));
  const auto header = decode_segment_header(block);
  if (!header) {
    if (!last) report.problems.push_back(fmt::format("{}: the first block is damaged", path));
    return {};
  }
  report.id = header->id;
  if (report.segments == 0) report.first = report.end = header->base;
  if (header->base != report.end) {
    report.problems.push_back(fmt::format("{}: offsets {} to {} are missing before it", path,
                                          report.end.value(), header->base.value() - 1));
  }
  ++report.segments;
  SegmentScanner scanner(*file, size, header->file_id, header->id, Offset(0));
  SegmentCursor cursor;
  cursor.place.next = header->base;
  const BatchVisitor count = [&](std::uint64_t, const wire::BatchView& batch) {
    ++report.batches;
    report.records += static_cast<std::uint64_t>(batch.record_count());
    report.bytes += batch.size();
  };
  while (true) {
    TIDELOG_ASSIGN(const auto step, scanner.step(cursor, count));
    if (step.whole) continue;
    TIDELOG_ASSIGN(const auto next, scanner.find_header(cursor.position + 1));
    if (!next) {
      if (!last && !step.problem.empty()) report.problems.push_back(path + ": " + step.problem);
      break;
    }
    report.problems.push_back(fmt::format(
        "{}: {}; offsets {} to {} are damaged", path,
        step.problem.empty() ? fmt::format("byte {}: nothing is written there", cursor.position)
                             : step.problem,
        cursor.place.next.value(), static_cast<std::int64_t>(next->first) - 1));
    cursor.position = next->position;
    cursor.sequence = next->sequence - 1;
    if (static_cast<std::int64_t>(next->first) <= cursor.place.next.value()) {
      cursor.position += io::kBlockBytes;  // the unsound write's own header
      continue;
    }
    cursor.place = {Offset(static_cast<std::int64_t>(next->first)), LeaderEpoch(-1)};
  }
  report.end = cursor.place.next;
  return {};
}

Result<PartitionReport> verify_partition_once(io::FileSystem& files, const std::string& directory) {
  PartitionReport report;
  report.path = directory;
  TIDELOG_ASSIGN(const auto entries, files.list(directory));
  std::vector<std::string> segments;
  for (const io::DirectoryEntry& entry : entries) {
    if (parse_segment_file_name(entry.name)) segments.push_back(directory + "/" + entry.name);
    if (is_set_aside(entry.name)) report.notes.push_back(aside_sentence(entry.name));
  }
  for (const std::string& path : segments) {
    TIDELOG_TRY(verify_segment(files, path, path == segments.back(), report));
  }
  return report;
}

Result<PartitionReport> verify_partition(io::FileSystem& files, const std::string& directory) {
  for (int attempt = 1;; ++attempt) {
    TIDELOG_ASSIGN(auto report, verify_partition_once(files, directory));
    if (report.problems.empty() || attempt == kAttempts) return report;
  }
}

Result<VerifyReport> verify_file(io::FileSystem& files, const std::string& path) {
  VerifyReport report;
  report.files = 1;
  if (name_of(path).ends_with(".log")) {
    PartitionReport segment;
    segment.path = path;
    TIDELOG_TRY(verify_segment(files, path, true, segment));
    if (segment.segments == 0) segment.problems.push_back(path + ": the first block is damaged");
    report.partitions.push_back(std::move(segment));
    return report;
  }
  TIDELOG_TRY(dump_file(files, path, [&](const DumpItem& item) {
    if (item.kind == "write") ++report.journal_writes;
    if (!item.problem.empty()) {
      report.problems.push_back(fmt::format("{}: byte {}: {}", path, item.position, item.problem));
    }
  }));
  return report;
}

}  // namespace

bool VerifyReport::ok() const {
  return problems.empty() && std::ranges::all_of(partitions, [](const PartitionReport& partition) {
           return partition.problems.empty();
         });
}

Result<VerifyReport> verify_path(io::FileSystem& files, const std::string& path) {
  TIDELOG_ASSIGN(const bool exists, files.exists(path));
  if (!exists) return fail(ErrorCode::kNotFound, fmt::format("{} does not exist", path));
  const auto entries = files.list(path);
  if (!entries || path.ends_with(".log")) return verify_file(files, path);
  const auto has = [&](auto matches) {
    return std::ranges::any_of(*entries, [&](const auto& entry) { return matches(entry.name); });
  };
  if (has([](const std::string& name) {
        return name == "meta.0" || name == "meta.1" || name == "journal";
      })) {
    return verify_directory(files, DataPaths{path});
  }
  if (!has([](const std::string& name) { return parse_segment_file_name(name).has_value(); })) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is neither a data directory nor a partition's", path));
  }
  VerifyReport report;
  TIDELOG_ASSIGN(auto partition, verify_partition(files, path));
  report.files = partition.segments;
  report.partitions.push_back(std::move(partition));
  return report;
}

}  // namespace tidelog::log
