#include "replication/metadata_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/checksum.h"

namespace tidelog::replication {
namespace {

using log::io::File;
using log::io::FileSystem;
using log::io::OpenMode;

constexpr std::uint32_t kRecordMagic = 0x524D4C54;    // "TLMR"
constexpr std::uint32_t kSnapshotMagic = 0x534D4C54;  // "TLMS"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kChecksumAt = 56;
// A record starts on a block of this size; the unit that a torn write may damage.
constexpr std::size_t kRecordAlignment = 4096;

constexpr std::string_view kSnapshotName = "snapshot";
constexpr std::string_view kNewSnapshotName = "snapshot.new";
constexpr std::string_view kLogPrefix = "log-";

constexpr std::uint8_t kPut = 1;
constexpr std::uint8_t kDelete = 2;

class Writer {
 public:
  template <std::integral T>
  void number(std::type_identity_t<T> value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    store_le<T>(bytes_.data() + at, value);
  }
  void raw(std::string_view text) {
    const auto bytes = as_bytes(text);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Reads within bounds; once it would leave them, everything reads as zero and ok() is false.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <std::integral T>
  T number() {
    if (!take(sizeof(T))) return 0;
    return load_le<T>(bytes_.data() + at_ - sizeof(T));
  }
  std::string raw(std::size_t length) {
    if (!take(length)) return "";
    return std::string(as_text(bytes_.subspan(at_ - length, length)));
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && at_ == bytes_.size(); }

 private:
  bool take(std::size_t length) {
    if (!ok_ || bytes_.size() - at_ < length) {
      ok_ = false;
      return false;
    }
    at_ += length;
    return true;
  }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// Fills the last field of a header.
void seal_header(std::byte* header) {
  store_le<std::uint64_t>(header + kChecksumAt, xxh3_64({header, kChecksumAt}));
}
bool header_sound(std::span<const std::byte> bytes, std::uint32_t magic) {
  return bytes.size() >= kHeaderBytes && load_le<std::uint32_t>(bytes.data()) == magic &&
         load_le<std::uint64_t>(bytes.data() + kChecksumAt) == xxh3_64(bytes.first(kChecksumAt));
}

struct RecordHeader {
  std::uint64_t log_id;
  std::uint64_t sequence;
  std::uint64_t payload_checksum;
  std::uint64_t revision;  // after the record
  std::uint32_t payload_bytes;
  std::uint32_t transactions;
};

void encode_record_header(const RecordHeader& header, std::byte* to) {
  store_le<std::uint32_t>(to, kRecordMagic);
  store_le<std::uint32_t>(to + 4, kVersion);
  store_le<std::uint64_t>(to + 8, header.log_id);
  store_le<std::uint64_t>(to + 16, header.sequence);
  store_le<std::uint64_t>(to + 24, header.payload_checksum);
  store_le<std::uint64_t>(to + 32, header.revision);
  store_le<std::uint32_t>(to + 40, header.payload_bytes);
  store_le<std::uint32_t>(to + 44, header.transactions);
  store_le<std::uint64_t>(to + 48, 0);
  seal_header(to);
}

// Nullopt where no sound header is.
std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes) {
  if (!header_sound(bytes, kRecordMagic)) return std::nullopt;
  const std::byte* from = bytes.data();
  return RecordHeader{.log_id = load_le<std::uint64_t>(from + 8),
                      .sequence = load_le<std::uint64_t>(from + 16),
                      .payload_checksum = load_le<std::uint64_t>(from + 24),
                      .revision = load_le<std::uint64_t>(from + 32),
                      .payload_bytes = load_le<std::uint32_t>(from + 40),
                      .transactions = load_le<std::uint32_t>(from + 44)};
}

void encode_transaction(const LoggedTransaction& transaction, Writer& to) {
  to.number<std::uint64_t>(transaction.revision);
  to.number<std::uint32_t>(static_cast<std::uint32_t>(transaction.operations.size()));
  for (const Operation& operation : transaction.operations) {
    const std::string_view value = operation.value ? *operation.value : std::string_view();
    to.number<std::uint8_t>(operation.value ? kPut : kDelete);
    to.number<std::uint64_t>(operation.lease);
    to.number<std::uint32_t>(static_cast<std::uint32_t>(operation.key.size()));
    to.number<std::uint32_t>(static_cast<std::uint32_t>(value.size()));
    to.raw(operation.key);
    to.raw(value);
  }
}

// Nullopt when the bytes are no transaction.
std::optional<LoggedTransaction> decode_transaction(Cursor& from) {
  LoggedTransaction transaction;
  transaction.revision = from.number<std::uint64_t>();
  const auto operations = from.number<std::uint32_t>();
  for (std::uint32_t i = 0; i < operations && from.ok(); ++i) {
    Operation operation;
    const auto kind = from.number<std::uint8_t>();
    operation.lease = from.number<std::uint64_t>();
    const auto key_bytes = from.number<std::uint32_t>();
    const auto value_bytes = from.number<std::uint32_t>();
    operation.key = from.raw(key_bytes);
    std::string value = from.raw(value_bytes);
    if (kind != kPut && kind != kDelete) return std::nullopt;
    if (kind == kPut) operation.value = std::move(value);
    transaction.operations.push_back(std::move(operation));
  }
  if (!from.ok()) return std::nullopt;
  return transaction;
}

std::vector<std::byte> encode_snapshot(std::uint64_t log_id, Revision revision,
                                       const StoredEntries& entries) {
  Writer to;
  to.bytes().resize(kHeaderBytes);
  for (const auto& [key, entry] : entries) {
    to.number<std::uint64_t>(entry.create_revision);
    to.number<std::uint64_t>(entry.mod_revision);
    to.number<std::uint64_t>(entry.lease);
    to.number<std::uint32_t>(static_cast<std::uint32_t>(key.size()));
    to.number<std::uint32_t>(static_cast<std::uint32_t>(entry.value.size()));
    to.raw(key);
    to.raw(entry.value);
  }
  const auto payload = std::span<const std::byte>(to.bytes()).subspan(kHeaderBytes);
  std::byte* header = to.bytes().data();
  store_le<std::uint32_t>(header, kSnapshotMagic);
  store_le<std::uint32_t>(header + 4, kVersion);
  store_le<std::uint64_t>(header + 8, log_id);
  store_le<std::uint64_t>(header + 16, revision);
  store_le<std::uint64_t>(header + 24, xxh3_64(payload));
  store_le<std::uint64_t>(header + 32, payload.size());
  store_le<std::uint64_t>(header + 40, entries.size());
  store_le<std::uint64_t>(header + 48, 0);
  seal_header(header);
  return std::move(to.bytes());
}

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

std::unexpected<Error> corrupt(const std::string& file, std::size_t position,
                               std::string_view what) {
  return fail(ErrorCode::kCorruptData,
              fmt::format("metadata file {} is damaged at byte {}: {}", file, position, what));
}

}  // namespace

void apply_transaction(const LoggedTransaction& transaction, StoredEntries& entries) {
  for (const Operation& operation : transaction.operations) {
    if (!operation.value) {
      entries.erase(operation.key);
      continue;
    }
    StoredEntry& entry = entries[operation.key];
    if (entry.create_revision == 0) entry.create_revision = transaction.revision;
    entry.mod_revision = transaction.revision;
    entry.value = *operation.value;
    entry.lease = operation.lease;
  }
}

std::string MetadataLog::log_path(std::uint64_t id) const {
  return fmt::format("{}/{}{:016x}", path_, kLogPrefix, id);
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
  const bool full = !written && written.error().code() == ErrorCode::kStorageFull;
  return full ? Result<>() : written;
}

// Without a snapshot the only files a store can leave are those of a first start that did not get
// far: a new snapshot, and a log that nothing was ever written to.
Result<> MetadataLog::make_new() {
  TIDELOG_ASSIGN(const auto entries, files_.list(path_));
  for (const auto& entry : entries) {
    if (!entry.name.starts_with(kLogPrefix)) continue;
    const std::string path = fmt::format("{}/{}", path_, entry.name);
    TIDELOG_ASSIGN(const auto file, files_.open(path, {.mode = OpenMode::kRead}));
    TIDELOG_ASSIGN(const std::uint64_t size, file->size());
    if (size > 0) {
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
  if (!header_sound(bytes, kSnapshotMagic)) return corrupt(path, 0, "its header does not verify");
  const std::byte* header = bytes.data();
  if (load_le<std::uint32_t>(header + 4) != kVersion) {
    return corrupt(path, 4, "its version is not known to this program");
  }
  log_id_ = load_le<std::uint64_t>(header + 8);
  contents.revision = load_le<std::uint64_t>(header + 16);
  const auto payload = bytes.subspan(kHeaderBytes);
  if (load_le<std::uint64_t>(header + 32) != payload.size() ||
      load_le<std::uint64_t>(header + 24) != xxh3_64(payload)) {
    return corrupt(path, kHeaderBytes, "its entries do not verify");
  }
  Cursor from(payload);
  const auto count = load_le<std::uint64_t>(header + 40);
  for (std::uint64_t i = 0; i < count && from.ok(); ++i) {
    StoredEntry entry;
    entry.create_revision = from.number<std::uint64_t>();
    entry.mod_revision = from.number<std::uint64_t>();
    entry.lease = from.number<std::uint64_t>();
    const auto key_bytes = from.number<std::uint32_t>();
    const auto value_bytes = from.number<std::uint32_t>();
    std::string key = from.raw(key_bytes);
    entry.value = from.raw(value_bytes);
    contents.entries.insert_or_assign(std::move(key), std::move(entry));
  }
  if (!from.at_end() || contents.entries.size() != count) {
    return corrupt(path, kHeaderBytes, "its entries cannot be read");
  }
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
    if (header && load_le<std::uint32_t>(rest.data() + 4) != kVersion) {
      return corrupt(path, position + 4, "its version is not known to this program");
    }
    const bool whole = header && header->log_id == log_id_ && header->sequence == sequence_ + 1 &&
                       header->payload_bytes <= rest.size() - kHeaderBytes;
    const auto payload =
        whole ? rest.subspan(kHeaderBytes, header->payload_bytes) : std::span<const std::byte>();
    if (!whole || header->payload_checksum != xxh3_64(payload)) break;
    TIDELOG_TRY(load_record(payload, header->transactions, position, contents));
    if (contents.revision != header->revision) {
      return corrupt(path, position + 32, "its transactions do not lead to its revision");
    }
    sequence_ = header->sequence;
    proven_ = header->transactions == 0;
    position += align_up(kHeaderBytes + header->payload_bytes, kRecordAlignment);
  }
  end_ = position;
  revision_ = contents.revision;
  if (position < bytes.size()) {
    TIDELOG_TRY(check_nothing_behind(bytes, position));
    contents.dropped_bytes = bytes.size() - position;
    TIDELOG_TRY(log_->truncate(position));
  }
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
  Cursor from(payload);
  for (std::uint32_t i = 0; i < transactions; ++i) {
    const std::optional<LoggedTransaction> transaction = decode_transaction(from);
    if (!transaction || transaction->revision != contents.revision + 1) {
      return corrupt(log_path(log_id_), position, "its transactions cannot be read");
    }
    apply_transaction(*transaction, contents.entries);
    contents.revision = transaction->revision;
  }
  if (!from.at_end())
    return corrupt(log_path(log_id_), position, "something follows its last transaction");
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

Result<> MetadataLog::append(std::span<const LoggedTransaction> group) {
  Writer to;
  to.bytes().resize(kHeaderBytes);
  for (const LoggedTransaction& transaction : group) encode_transaction(transaction, to);
  const std::size_t used = to.bytes().size();
  TIDELOG_CHECK(used - kHeaderBytes <= std::numeric_limits<std::uint32_t>::max(),
                "a group of transactions is far below 4 GiB");
  const auto payload = std::span<const std::byte>(to.bytes()).subspan(kHeaderBytes);
  const Revision revision = group.empty() ? revision_ : group.back().revision;
  encode_record_header({.log_id = log_id_,
                        .sequence = sequence_ + 1,
                        .payload_checksum = xxh3_64(payload),
                        .revision = revision,
                        .payload_bytes = static_cast<std::uint32_t>(payload.size()),
                        .transactions = static_cast<std::uint32_t>(group.size())},
                       to.bytes().data());
  to.bytes().resize(align_up(used, kRecordAlignment));
  if (auto written = log_->write_at(FilePosition(end_), to.bytes()); !written) {
    if (written.error().code() != ErrorCode::kStorageFull) return written;
    // Whatever arrived must be gone for good before the transactions are refused as not applied.
    if (!log_->truncate(end_) || !log_->sync_data()) {
      return fail(ErrorCode::kStorageFailed,
                  fmt::format("{} (and what was written could not be taken back)",
                              written.error().message()));
    }
    return written;
  }
  TIDELOG_TRY(log_->sync_data());
  ++sequence_;
  revision_ = revision;
  proven_ = group.empty();
  end_ += to.bytes().size();
  return {};
}

bool MetadataLog::wants_snapshot() const {
  return end_ >= std::max(options_.snapshot_log_bytes_min, 2 * snapshot_bytes_);
}

// The new log exists and is empty before the snapshot that names it takes the old one's place;
// nothing is written to it before that name is stable.
Result<> MetadataLog::write_snapshot(Revision revision, const StoredEntries& entries) {
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
  const auto write_new = [&]() -> Result<> {
    TIDELOG_ASSIGN(const auto file, files_.open(new_path, {.mode = OpenMode::kCreate}));
    TIDELOG_TRY(file->write_at(FilePosition(0), snapshot));
    return file->sync_data();
  };
  if (auto written = write_new(); !written) {
    if (written.error().code() == ErrorCode::kStorageFull) {
      new_log.reset();
      TIDELOG_TRY(remove_if_there(log_path(log_id)));
      TIDELOG_TRY(remove_if_there(new_path));
    }
    return written;
  }
  const auto take_place = [&]() -> Result<> {
    TIDELOG_TRY(files_.sync_directory(path_));
    TIDELOG_TRY(files_.rename(new_path, fmt::format("{}/{}", path_, kSnapshotName)));
    return files_.sync_directory(path_);
  };
  // Whether the new snapshot is in force is not known now, so neither log may be written to.
  if (auto placed = take_place(); !placed) {
    return fail(ErrorCode::kStorageFailed, placed.error().message());
  }
  const std::uint64_t old_id = std::exchange(log_id_, log_id);
  log_ = std::move(new_log);
  sequence_ = 0;
  end_ = 0;
  revision_ = revision;
  snapshot_bytes_ = snapshot.size();
  if (old_id != 0) TIDELOG_TRY(files_.remove_file(log_path(old_id)));
  return {};
}

}  // namespace tidelog::replication
