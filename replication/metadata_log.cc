#include "replication/metadata_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/checksum.h"
#include "log/io/storage_error.h"

namespace tidelog::replication {
namespace {

using log::io::File;
using log::io::FileSystem;
using log::io::OpenMode;

constexpr std::string_view kSnapshotName = "snapshot";
constexpr std::string_view kNewSnapshotName = "snapshot.new";
constexpr std::string_view kLogPrefix = "log-";

Result<std::vector<std::byte>> read_whole(File& file) {
  TIDELOG_ASSIGN(const std::uint64_t size, file.size());
  std::vector<std::byte> bytes(size);
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    TIDELOG_ASSIGN(const std::size_t count,
                   file.read_at(FilePosition(filled), std::span(bytes).subspan(filled)));
    if (count == 0) break;
    filled += count;
  }
  bytes.resize(filled);
  return bytes;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Makes `path` and what is missing above it, with stable names.
Result<> make_stable_directory(FileSystem& files, const std::string& path) {
  std::vector<std::string> made;
  for (std::string at = path;; at = parent_of(at)) {
    TIDELOG_ASSIGN(const bool there, files.exists(at));
    if (there || at == parent_of(at)) break;
    made.push_back(at);
  }
  TIDELOG_TRY(files.make_directories(path));
  for (const std::string& directory : made) {
    TIDELOG_TRY(files.sync_directory(parent_of(directory)));
  }
  // Also of a directory that was found: whoever made it may have died before it was stable.
  return made.empty() ? files.sync_directory(parent_of(path)) : Result<>();
}

// Without the zeros at the end, which are space that was reserved.
std::span<const std::byte> without_reserve(std::span<const std::byte> bytes) {
  while (!bytes.empty() && bytes.back() == std::byte{0}) bytes = bytes.first(bytes.size() - 1);
  return bytes;
}

std::unexpected<Error> corrupt(const std::string& file, std::size_t position,
                               std::string_view what) {
  return fail(ErrorCode::kCorruptData,
              fmt::format("metadata file {} is damaged at byte {}: {}", file, position, what));
}

}  // namespace

std::string MetadataLog::log_path(std::uint64_t id) const {
  return fmt::format("{}/{}{:016x}", path_, kLogPrefix, id);
}

Result<bool> MetadataLog::exists(FileSystem& files, const std::string& path) {
  return files.exists(fmt::format("{}/{}", path, kSnapshotName));
}

Result<std::unique_ptr<MetadataLog>> MetadataLog::open(FileSystem& files, Options options,
                                                       Contents& contents) {
  TIDELOG_TRY(make_stable_directory(files, options.path));
  std::unique_ptr<MetadataLog> log(new MetadataLog(files, std::move(options)));
  TIDELOG_ASSIGN(log->lock_, files.lock_directory(log->path_));
  contents = {};
  TIDELOG_TRY(log->load(contents));
  return log;
}

Result<> MetadataLog::load(Contents& contents) {
  const std::string path = fmt::format("{}/{}", path_, kSnapshotName);
  TIDELOG_ASSIGN(const bool exists, files_.exists(path));
  if (!exists) {
    contents.created = true;
    return make_new();
  }
  std::vector<std::byte> bytes;
  {
    TIDELOG_ASSIGN(const auto file, files_.open(path, {.mode = OpenMode::kRead}));
    TIDELOG_ASSIGN(bytes, read_whole(*file));
  }
  TIDELOG_TRY(load_snapshot(bytes, contents));
  snapshot_bytes_ = bytes.size();
  TIDELOG_TRY(load_log(contents));
  TIDELOG_TRY(remove_leftovers());
  if (proven_) return {};
  auto written = write_snapshot(contents.revision, contents.entries);
  // A full disk must not keep a broker from starting and deleting: then the sync of load_log() has
  // to do.
  return !written && !log::io::is_final(written.error()) ? Result<>() : written;
}

// Without a snapshot the only files a store can leave are those of a first start that did not get
// far: a new snapshot, and a log that nothing was ever written to.
Result<> MetadataLog::make_new() {
  TIDELOG_ASSIGN(const auto entries, files_.list(path_));
  for (const auto& entry : entries) {
    if (!entry.name.starts_with(kLogPrefix)) continue;
    const std::string path = fmt::format("{}/{}", path_, entry.name);
    TIDELOG_ASSIGN(const auto file, files_.open(path, {.mode = OpenMode::kRead}));
    TIDELOG_ASSIGN(const std::vector<std::byte> bytes, read_whole(*file));
    if (!without_reserve(bytes).empty()) {
      return fail(ErrorCode::kCorruptData,
                  fmt::format("metadata file {}/{} is missing although {} holds transactions",
                              path_, kSnapshotName, path));
    }
  }
  TIDELOG_TRY(remove_leftovers());
  return write_snapshot(0, {});
}

Result<> MetadataLog::load_snapshot(std::span<const std::byte> bytes, Contents& contents) {
  const std::string path = fmt::format("{}/{}", path_, kSnapshotName);
  std::expected<Snapshot, SnapshotProblem> snapshot = decode_snapshot(bytes);
  if (!snapshot) return corrupt(path, snapshot.error().position, snapshot.error().what);
  log_id_ = snapshot->log_id;
  contents.revision = snapshot->revision;
  contents.entries = std::move(snapshot->entries);
  return {};
}

Result<> MetadataLog::load_log(Contents& contents) {
  const std::string path = log_path(log_id_);
  TIDELOG_ASSIGN(const bool exists, files_.exists(path));
  if (!exists) {
    return fail(
        ErrorCode::kCorruptData,
        fmt::format("metadata file {} is missing, which {}/{} names", path, path_, kSnapshotName));
  }
  TIDELOG_ASSIGN(log_, files_.open(path, {.mode = OpenMode::kWrite}));
  TIDELOG_ASSIGN(const std::vector<std::byte> bytes, read_whole(*log_));
  std::size_t position = 0;
  while (position < bytes.size()) {
    const auto rest = std::span(bytes).subspan(position);
    const std::optional<RecordHeader> header = decode_record_header(rest);
    if (header && header->version != kMetadataFormatVersion) {
      return corrupt(path, position + 4, "its version is not known to this program");
    }
    const bool whole = header && header->log_id == log_id_ && header->sequence == sequence_ + 1 &&
                       header->payload_bytes <= rest.size() - kRecordHeaderBytes;
    const auto payload = whole ? rest.subspan(kRecordHeaderBytes, header->payload_bytes)
                               : std::span<const std::byte>();
    if (!whole || header->payload_checksum != xxh3_64(payload)) break;
    TIDELOG_TRY(load_record(payload, header->transactions, position, contents));
    if (contents.revision != header->revision) {
      return corrupt(path, position + 32, "its transactions do not lead to its revision");
    }
    sequence_ = header->sequence;
    proven_ = header->transactions == 0;
    position += align_up(kRecordHeaderBytes + header->payload_bytes, kRecordAlignment);
  }
  end_ = position;
  revision_ = contents.revision;
  reserved_ = std::max<std::uint64_t>(bytes.size(), position);
  if (const auto used = without_reserve(bytes); position < used.size()) {
    TIDELOG_TRY(check_nothing_behind(used, position));
    contents.dropped_bytes = used.size() - position;
    TIDELOG_TRY(log_->truncate(position));
    reserved_ = position;
  }
  if (auto kept = reserve(0); !kept && kept.error().code() != ErrorCode::kStorageFull) return kept;
  // What was read may be in memory only, left by a process that died before its sync: it is stable
  // before anybody acts on it.
  TIDELOG_TRY(log_->sync_data());
  return files_.sync_directory(path_);
}

Result<> MetadataLog::check_nothing_behind(std::span<const std::byte> bytes, std::size_t position) {
  for (std::size_t at = position; at < bytes.size(); at += kRecordAlignment) {
    const std::optional<RecordHeader> header = decode_record_header(bytes.subspan(at));
    if (!header || header->log_id != log_id_) continue;
    // The record that comes next may be torn behind a sound header. Any other one was written after
    // it was stable.
    if (at == position && header->sequence == sequence_ + 1) continue;
    return corrupt(log_path(log_id_), position,
                   fmt::format("record {} does not verify, but record {} at byte {} was written "
                               "after it",
                               sequence_ + 1, header->sequence, at));
  }
  return {};
}

Result<> MetadataLog::load_record(std::span<const std::byte> payload, std::uint32_t transactions,
                                  std::size_t position, Contents& contents) {
  const auto decoded = decode_transactions(payload, transactions);
  if (!decoded) {
    return corrupt(log_path(log_id_), position, "its transactions cannot be read");
  }
  for (const LoggedTransaction& transaction : *decoded) {
    if (transaction.revision != contents.revision + 1) {
      return corrupt(log_path(log_id_), position, "its revisions do not follow the former ones");
    }
    apply_transaction(transaction, contents.entries);
    contents.revision = transaction.revision;
  }
  return {};
}

Result<> MetadataLog::remove_leftovers() {
  TIDELOG_ASSIGN(const auto entries, files_.list(path_));
  const std::string current = log_path(log_id_);
  for (const auto& entry : entries) {
    const std::string path = fmt::format("{}/{}", path_, entry.name);
    const bool old_log = entry.name.starts_with(kLogPrefix) && (log_id_ == 0 || path != current);
    if (old_log || entry.name == kNewSnapshotName) TIDELOG_TRY(files_.remove_file(path));
  }
  return {};
}

// In steps, so that few records wait for it.
Result<> MetadataLog::reserve(std::size_t bytes) {
  const std::uint64_t wanted = end_ + bytes + kReserveBytes;
  if (reserved_ >= wanted) return {};
  const std::uint64_t end = align_up(wanted, kReserveBytes);
  TIDELOG_TRY(log_->allocate(FilePosition(reserved_), end - reserved_));
  reserved_ = end;
  return {};
}

Result<> MetadataLog::append(std::span<const LoggedTransaction> group, bool from_reserve) {
  TIDELOG_TRY(settle_name());
  const Revision revision = group.empty() ? revision_ : group.back().revision;
  const std::vector<std::byte> record = encode_record(log_id_, sequence_ + 1, revision, group);
  if (auto reserved = reserve(record.size()); !reserved) {
    const bool full = reserved.error().code() == ErrorCode::kStorageFull;
    if (!full || !from_reserve) return reserved;
  }
  if (auto written = log_->write_at(FilePosition(end_), record); !written) {
    if (written.error().code() != ErrorCode::kStorageFull) return written;
    // Whatever arrived must be gone for good before the transactions are refused as not applied.
    const std::uint64_t before = std::exchange(reserved_, end_);
    if (!log_->truncate(end_) || !log_->sync_data()) {
      return fail(ErrorCode::kStorageFailed,
                  fmt::format("{} (and what was written could not be taken back)",
                              written.error().message()));
    }
    // The reserve is for later transactions that free space, so it is taken back at once.
    if (before > end_ && log_->allocate(FilePosition(end_), before - end_)) reserved_ = before;
    return written;
  }
  if (auto synced = log_->sync_data(); !synced) {
    // Also for want of space: the record is in the file, and a crash may find it.
    return fail(ErrorCode::kStorageFailed, std::move(synced).error().message());
  }
  ++sequence_;
  revision_ = revision;
  proven_ = group.empty();
  end_ += record.size();
  return {};
}

bool MetadataLog::wants_snapshot() const {
  return end_ >= std::max(options_.snapshot_log_bytes_min, 2 * snapshot_bytes_);
}

// The new log exists and is empty before the snapshot that names it takes the old one's place;
// nothing is written to it before that name is stable.
Result<> MetadataLog::write_snapshot(Revision revision, const StoredEntries& entries) {
  TIDELOG_TRY(settle_name());
  const std::uint64_t log_id = options_.random_id();
  const std::vector<std::byte> snapshot = encode_snapshot(log_id, revision, entries);
  const std::string new_path = fmt::format("{}/{}", path_, kNewSnapshotName);
  const auto remove_if_there = [this](const std::string& path) -> Result<> {
    TIDELOG_ASSIGN(const bool there, files_.exists(path));
    return there ? files_.remove_file(path) : Result<>();
  };
  TIDELOG_TRY(remove_if_there(new_path));
  TIDELOG_ASSIGN(std::unique_ptr<File> new_log,
                 files_.open(log_path(log_id), {.mode = OpenMode::kCreate}));
  std::unique_ptr<File> file;
  const auto write_new = [&]() -> Result<> {
    TIDELOG_TRY(new_log->allocate(FilePosition(0), kReserveBytes));
    TIDELOG_ASSIGN(file, files_.open(new_path, {.mode = OpenMode::kCreate}));
    TIDELOG_TRY(file->write_at(FilePosition(0), snapshot));
    TIDELOG_TRY(file->sync_data());
    return files_.sync_directory(path_);
  };
  if (auto written = write_new(); !written) {
    if (!log::io::is_final(written.error())) {
      file.reset();
      new_log.reset();
      TIDELOG_TRY(remove_if_there(log_path(log_id)));
      TIDELOG_TRY(remove_if_there(new_path));
    }
    return written;
  }
  auto renamed = files_.rename(new_path, fmt::format("{}/{}", path_, kSnapshotName));
  // Whether the new snapshot is in force is not known now, so neither log may be written to.
  if (!renamed) return fail(ErrorCode::kStorageFailed, renamed.error().message());
  file.reset();  // gives its descriptor up for the sync of the directory
  unsettled_former_log_ = std::exchange(log_id_, log_id);
  log_ = std::move(new_log);
  sequence_ = 0;
  end_ = 0;
  reserved_ = kReserveBytes;
  revision_ = revision;
  snapshot_bytes_ = snapshot.size();
  return settle_name();
}

Result<> MetadataLog::settle_name() {
  if (!unsettled_former_log_) return {};
  if (auto synced = files_.sync_directory(path_); !synced) {
    const bool asked = synced.error().code() != ErrorCode::kOverloaded;
    return asked ? fail(ErrorCode::kStorageFailed, synced.error().message()) : synced;
  }
  const std::uint64_t former = *std::exchange(unsettled_former_log_, std::nullopt);
  return former != 0 ? files_.remove_file(log_path(former)) : Result<>();
}

}  // namespace tidelog::replication
