#include "log/journal_replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace tidelog::log {
namespace {

// "<shard>-<number>"; nullopt for other names.
std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_name(std::string_view name) {
  std::uint32_t shard = 0;
  std::uint32_t number = 0;
  const char* end = name.data() + name.size();
  const auto first = std::from_chars(name.data(), end, shard);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, number);
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return std::pair(shard, number);
}

using Found = std::map<std::uint64_t, ReplayWrite>;  // by sequence

// The id of the newest write in the file: of use when the header is damaged.
Result<std::optional<std::uint64_t>> guess_id(JournalReader& reader, std::uint32_t file) {
  std::optional<std::uint64_t> id;
  for (std::uint64_t at = kJournalDataStart; at < reader.files()[file].bytes;
       at += io::kBlockBytes) {
    TIDELOG_ASSIGN(const auto header, reader.header_at(file, at));
    if (header) id = header->file_id;
  }
  return id;
}

// Rot takes blocks. A whole file that cannot be read is a device that may come back.
Result<> check_readable(JournalReader& reader, std::uint32_t file) {
  for (std::uint64_t at = 0; at < reader.files()[file].bytes; at += io::kBlockBytes) {
    TIDELOG_ASSIGN(const bool unreadable, reader.unreadable_at(file, at));
    if (!unreadable) return {};
  }
  if (reader.files()[file].bytes == 0) return {};
  return fail(ErrorCode::kStorageFailed,
              fmt::format("{} cannot be read", reader.files()[file].path));
}

Result<> read_writes(JournalReader& reader, std::uint32_t file, std::uint64_t journal_id,
                     const EntryVisitor& visit, Found& found) {
  for (std::uint64_t at = kJournalDataStart; at < reader.files()[file].bytes;) {
    TIDELOG_ASSIGN(auto write, reader.write_at(file, at, journal_id));
    if (!write) {
      at += io::kBlockBytes;
      continue;
    }
    for (const ReplayEntry& entry : write->entries) {
      if (!visit || !entry.sound || entry.entry.length == 0) continue;
      TIDELOG_ASSIGN(const auto batches, reader.batches_of(entry));
      visit(write->header.sequence, entry, batches);
    }
    // Behind a write that is not whole a newer one may begin that overwrote the rest of it.
    at += write->whole() ? write->header.disk_bytes() : io::kBlockBytes;
    found[write->header.sequence] = std::move(*write);
  }
  return {};
}

// The writes from the newest tail on, and which of them are missing.
void settle(Found found, ReplayedJournal& replayed) {
  for (const auto& [sequence, write] : found) {
    replayed.tail = std::max(replayed.tail, write.header.first);
    replayed.durable = std::max(replayed.durable, write.header.durable);
    replayed.places[sequence] = write.header.position;
    replayed.places.try_emplace(sequence + 1, write.header.position + write.header.disk_bytes());
  }
  // With no write left the checkpoint alone cannot say which were overwritten; none is needed below
  // the newest tail.
  const std::uint64_t from = found.empty() ? replayed.durable + 1 : replayed.tail;
  for (std::uint64_t sequence = from; sequence <= replayed.durable; ++sequence) {
    if (!found.contains(sequence)) replayed.lost.push_back(sequence);
  }
  for (auto& [sequence, write] : found) {
    if (sequence >= replayed.tail) replayed.writes.push_back(std::move(write));
  }
}

// Where the write behind the one in `file` that ends at `end` may stand: there, or at the beginning
// of one of the files, in their order.
Result<std::optional<ReplayWrite>> next_write(JournalReader& reader, std::uint64_t journal_id,
                                              std::uint64_t sequence, std::uint32_t file,
                                              std::uint64_t end) {
  const auto count = static_cast<std::uint32_t>(reader.files().size());
  for (std::uint32_t step = 0; step <= count; ++step) {
    const std::uint32_t at_file = (file + step) % count;
    const std::uint64_t at = step == 0 ? end : kJournalDataStart;
    if (at >= reader.files()[at_file].bytes) continue;
    TIDELOG_ASSIGN(const auto header, reader.header_at(at_file, at));
    if (!header || header->file_id != journal_id || header->sequence != sequence) continue;
    return reader.write_at(at_file, at, journal_id);
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<JournalFiles>> list_journals(io::FileSystem& files, const DataPaths& paths) {
  std::map<std::uint32_t, std::vector<std::uint32_t>> shards;
  TIDELOG_ASSIGN(const bool exists, files.exists(paths.journals()));
  if (exists) {
    TIDELOG_ASSIGN(const auto entries, files.list(paths.journals()));
    for (const io::DirectoryEntry& entry : entries) {
      if (const auto name = parse_name(entry.name)) shards[name->first].push_back(name->second);
    }
  }
  std::vector<JournalFiles> journals;
  for (auto& [shard, numbers] : shards) {
    std::ranges::sort(numbers);
    journals.push_back({shard, std::move(numbers)});
  }
  return journals;
}

std::vector<std::uint32_t> missing_journals(std::span<const JournalFiles> journals,
                                            std::uint32_t named) {
  std::vector<std::uint32_t> missing;
  for (std::uint32_t shard = 0; shard < named; ++shard) {
    if (std::ranges::find(journals, shard, &JournalFiles::shard) == journals.end()) {
      missing.push_back(shard);
    }
  }
  return missing;
}

std::string missing_sentence(const DataPaths& paths, std::uint32_t shard) {
  return fmt::format("{} is missing, which other journals name; what it held is not known",
                     paths.journal_file(shard, 0));
}

Result<ReplayedJournal> read_journal(io::FileSystem& files, const DataPaths& paths,
                                     const JournalFiles& journal,
                                     const std::vector<JournalCheckpoint>& checkpointed,
                                     const EntryVisitor& visit) {
  ReplayedJournal replayed;
  replayed.shard = journal.shard;
  TIDELOG_ASSIGN(replayed.reader, JournalReader::open(files, paths, journal));
  JournalReader& reader = *replayed.reader;
  for (const JournalReader::File& file : reader.files()) {
    if (file.header.header && file.header.header->generation > replayed.generation) {
      replayed.generation = file.header.header->generation;
      replayed.journal_id = file.header.header->journal_id;
      replayed.shard_count = file.header.header->shard_count;
    }
  }
  Found found;
  for (std::uint32_t i = 0; i < reader.files().size(); ++i) {
    const JournalReader::File& file = reader.files()[i];
    if (!file.header.header) {
      TIDELOG_TRY(check_readable(reader, i));
      TIDELOG_ASSIGN(const auto id, guess_id(reader, i));
      if (!id) continue;  // a file whose making was cut short holds nothing
      replayed.problems.push_back(fmt::format("{}: both headers are damaged", file.path));
      if (replayed.journal_id == 0) replayed.journal_id = *id;
    } else if (file.header.header->generation < replayed.generation) {
      continue;  // emptied before the journal got its new id
    } else if (file.header.damaged > 0) {
      replayed.problems.push_back(
          fmt::format("{}: one of two headers is damaged; the other one counts", file.path));
    }
    // A ring grows before its header says so.
    if (file.header.header && file.bytes < file.header.header->file_bytes) {
      replayed.problems.push_back(fmt::format("{}: byte {}: the file ends, its header says at {}",
                                              file.path, file.bytes,
                                              file.header.header->file_bytes));
    }
    TIDELOG_TRY(read_writes(reader, i, replayed.journal_id, visit, found));
  }
  for (const JournalCheckpoint& known : checkpointed) {
    if (known.journal_id == replayed.journal_id) replayed.durable = known.durable_sequence;
  }
  settle(std::move(found), replayed);
  return replayed;
}

Result<std::optional<ReplayedJournal>> read_marked_journal(
    io::FileSystem& files, const DataPaths& paths, const JournalFiles& journal,
    const std::vector<JournalCheckpoint>& marked) {
  ReplayedJournal replayed;
  replayed.shard = journal.shard;
  TIDELOG_ASSIGN(replayed.reader, JournalReader::open(files, paths, journal));
  JournalReader& reader = *replayed.reader;
  for (std::uint32_t i = 0; i < reader.files().size(); ++i) {
    const JournalReader::File& file = reader.files()[i];
    const auto& header = file.header.header;
    if (!header || file.header.damaged > 0 || header->file_number != i || file.number != i) {
      return std::nullopt;
    }
    if (i > 0 && header->journal_id != replayed.journal_id) return std::nullopt;
    replayed.journal_id = header->journal_id;
    replayed.generation = header->generation;
    replayed.shard_count = header->shard_count;
  }
  const auto mark = std::ranges::find(marked, replayed.journal_id, &JournalCheckpoint::journal_id);
  if (mark == marked.end()) return std::nullopt;
  replayed.durable = mark->durable_sequence;
  if (mark->oldest_sequence == 0) return replayed;  // nothing was ever written
  auto file = static_cast<std::uint32_t>(mark->oldest_position >> kFileNumberShift);
  std::uint64_t at = mark->oldest_position & kFilePositionMask;
  if (file >= reader.files().size()) return std::nullopt;
  Found found;
  for (std::uint64_t due = mark->oldest_sequence; due <= mark->durable_sequence; ++due) {
    TIDELOG_ASSIGN(auto write, next_write(reader, replayed.journal_id, due, file, at));
    if (!write) return std::nullopt;
    file = static_cast<std::uint32_t>(write->header.position >> kFileNumberShift);
    at = (write->header.position & kFilePositionMask) + write->header.disk_bytes();
    found[due] = std::move(*write);
  }
  settle(std::move(found), replayed);
  return replayed;
}

std::string write_place(const ReplayedJournal& journal, std::uint64_t sequence) {
  const auto& files = journal.reader->files();
  const auto place = journal.places.find(sequence);
  if (place == journal.places.end()) return files.front().path;
  const auto file =
      std::ranges::find(files, place->second >> kFileNumberShift, &JournalReader::File::number);
  if (file == files.end()) return files.front().path;
  return fmt::format("{}: byte {}", file->path, place->second & kFilePositionMask);
}

}  // namespace tidelog::log
