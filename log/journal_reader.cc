#include "log/journal_reader.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/bytes.h"
#include "log/batch_walk.h"
#include "log/rules.h"

namespace tidelog::log {
namespace {

constexpr std::size_t kBytesUsedAt = 24;
constexpr std::size_t kEntriesAt = 28;

// An entry's batches follow each other, belong together with the entry, and each verifies.
bool verifies(const JournalEntry& entry, std::span<const std::byte> batches) {
  BatchPlace place{.next = entry.base};
  std::uint64_t chain = 0;
  const auto problem = walk_batches(batches, 0, wire::batch_seed(entry.id), Offset(0), place,
                                    [&](std::uint64_t, const wire::BatchView& batch) {
                                      chain = chain_checksum(
                                          chain, load_le<std::uint64_t>(batch.bytes().data() + 88));
                                    });
  return batches.size() == entry.length && !problem && place.next == entry.next &&
         (chain == entry.checksum || broken(Rule::kEntryBindsBatches));
}

}  // namespace

bool ReplayWrite::whole() const { return std::ranges::all_of(entries, &ReplayEntry::sound); }

Result<std::unique_ptr<JournalReader>> JournalReader::open(io::FileSystem& files,
                                                           const DataPaths& paths,
                                                           const JournalFiles& journal) {
  auto reader = std::make_unique<JournalReader>();
  for (const std::uint32_t number : journal.numbers) {
    File one;
    one.number = number;
    one.path = paths.journal_file(journal.shard, number);
    TIDELOG_ASSIGN(one.file, files.open(one.path, {.mode = io::OpenMode::kRead, .direct = true}));
    TIDELOG_ASSIGN(one.header, read_journal_header(*one.file));
    TIDELOG_ASSIGN(one.bytes, one.file->size());
    reader->files_.push_back(std::move(one));
  }
  return reader;
}

Result<std::span<const std::byte>> JournalReader::bytes_at(std::uint32_t file, std::uint64_t at,
                                                           std::size_t length) {
  if (!window_ || window_file_ != file) {
    window_.emplace(*files_[file].file, files_[file].bytes, std::size_t{1} << 20,
                    Unreadable::kIsUnsound);
    window_file_ = file;
  }
  return window_->at(at, length);
}

Result<std::optional<WriteHeader>> JournalReader::header_at(std::uint32_t file, std::uint64_t at) {
  TIDELOG_ASSIGN(const auto front, bytes_at(file, at, kWriteHeaderBytes));
  if (front.size() < kWriteHeaderBytes || !has_write_magic(front)) return std::nullopt;
  const std::uint64_t table =
      std::uint64_t{load_le<std::uint32_t>(front.data() + kEntriesAt)} * kJournalEntryBytes;
  // Before memory is taken for it.
  if (table > load_le<std::uint32_t>(front.data() + kBytesUsedAt) ||
      table > files_[file].bytes - at) {
    return std::nullopt;
  }
  TIDELOG_ASSIGN(const auto whole,
                 bytes_at(file, at, kWriteHeaderBytes + static_cast<std::size_t>(table)));
  const auto header = decode_write_header(whole);
  if (!header || header->kind != WriteKind::kJournal || header->durable >= header->sequence ||
      header->first > header->sequence ||
      header->position != journal_position(files_[file].number, at)) {
    return std::nullopt;
  }
  return header;
}

Result<std::optional<ReplayWrite>> JournalReader::write_at(std::uint32_t file, std::uint64_t at,
                                                           std::uint64_t id) {
  TIDELOG_ASSIGN(const auto header, header_at(file, at));
  if (!header || (header->file_id != id && !broken(Rule::kJournalIdCounts)) ||
      header->bytes_used > files_[file].bytes - at) {
    return std::nullopt;
  }
  TIDELOG_ASSIGN(const auto bytes, bytes_at(file, at, header->bytes_used));
  if (bytes.size() < header->bytes_used) return std::nullopt;
  ReplayWrite write;
  write.header = *header;
  write.entries.reserve(header->entries);
  std::size_t batches_at = kWriteHeaderBytes + std::size_t{header->entries} * kJournalEntryBytes;
  for (std::uint32_t i = 0; i < header->entries; ++i) {
    const auto entry =
        decode_journal_entry(bytes.data() + kWriteHeaderBytes + i * kJournalEntryBytes);
    if (!entry || entry->length > header->bytes_used - batches_at) return std::nullopt;
    const auto batches = bytes.subspan(batches_at, entry->length);
    write.entries.push_back({.entry = *entry,
                             .position = at + batches_at,
                             .file = file,
                             .sound = entry->length == 0 || verifies(*entry, batches)});
    batches_at += entry->length;
  }
  return write;
}

Result<bool> JournalReader::unreadable_at(std::uint32_t file, std::uint64_t at) {
  TIDELOG_ASSIGN(const auto front, bytes_at(file, at, kWriteHeaderBytes));
  return std::ranges::all_of(front, [](std::byte byte) { return byte == kUnreadableByte; });
}

Result<std::span<const std::byte>> JournalReader::batches_of(const ReplayEntry& entry) {
  TIDELOG_ASSIGN(const auto batches, bytes_at(entry.file, entry.position, entry.entry.length));
  if (!verifies(entry.entry, batches)) {
    return fail(ErrorCode::kStorageFailed,
                fmt::format("{} gives other bytes at {} than a moment ago", files_[entry.file].path,
                            entry.position));
  }
  return batches;
}

}  // namespace tidelog::log
