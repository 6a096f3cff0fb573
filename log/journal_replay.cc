#include "log/journal_replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/bytes.h"
#include "log/batch_walk.h"
#include "log/file_window.h"

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

struct LoadedFile {
  std::uint32_t number = 0;
  std::string path;
  JournalHeaderRead header;
  Buffer memory;
  std::size_t bytes = 0;

  std::span<const std::byte> content() const { return memory.bytes().first(bytes); }
};

Result<LoadedFile> load_file(io::FileSystem& files, const DataPaths& paths, std::uint32_t shard,
                             std::uint32_t number) {
  LoadedFile loaded;
  loaded.number = number;
  loaded.path = paths.journal_file(shard, number);
  TIDELOG_ASSIGN(auto file, files.open(loaded.path, {.mode = io::OpenMode::kRead, .direct = true}));
  TIDELOG_ASSIGN(loaded.header, read_journal_header(*file));
  TIDELOG_ASSIGN(const std::uint64_t size, file->size());
  loaded.memory = Buffer::allocate(static_cast<std::size_t>(std::max<std::uint64_t>(size, 1)));
  TIDELOG_ASSIGN(loaded.bytes, read_around_damage(*file, FilePosition(0), loaded.memory.bytes()));
  loaded.bytes = static_cast<std::size_t>(std::min<std::uint64_t>(loaded.bytes, size));
  // Rot takes blocks. A whole file that cannot be read is a device that may come back.
  const auto unreadable = [](std::byte byte) { return byte == kUnreadableByte; };
  if (loaded.bytes > 0 && std::ranges::all_of(loaded.content(), unreadable)) {
    return fail(ErrorCode::kStorageFailed, fmt::format("{} cannot be read", loaded.path));
  }
  return loaded;
}

// The id of the newest write in the file: of use when the header is damaged.
std::optional<std::uint64_t> guess_id(const LoadedFile& file) {
  const auto content = file.content();
  std::optional<std::uint64_t> id;
  for (std::size_t at = kJournalDataStart; at < content.size(); at += io::kBlockBytes) {
    const auto header = decode_write_header(content.subspan(at));
    if (header && header->kind == WriteKind::kJournal &&
        header->position == journal_position(file.number, at)) {
      id = header->file_id;
    }
  }
  return id;
}

// An entry's batches follow each other, belong together with the entry, and each verifies.
bool entry_sound(const JournalEntry& entry, std::span<const std::byte> batches) {
  BatchPlace place{.next = entry.base};
  std::uint64_t chain = 0;
  const auto problem = walk_batches(batches, 0, wire::batch_seed(entry.id), Offset(0), place,
                                    [&](std::uint64_t, const wire::BatchView& batch) {
                                      chain = chain_checksum(
                                          chain, load_le<std::uint64_t>(batch.bytes().data() + 88));
                                    });
  return !problem && place.next == entry.next && chain == entry.checksum;
}

// The write at `at`, if its header and table are sound. `whole`: its batches are too.
std::optional<ReplayWrite> read_write(const LoadedFile& file, std::uint64_t journal_id,
                                      std::size_t at, bool& whole) {
  const auto bytes = file.content().subspan(at);
  const auto header = decode_write_header(bytes);
  if (!header || header->kind != WriteKind::kJournal || header->file_id != journal_id ||
      header->position != journal_position(file.number, at) || header->bytes_used > bytes.size()) {
    return std::nullopt;
  }
  ReplayWrite write;
  write.header = *header;
  whole = true;
  std::size_t batches_at = kWriteHeaderBytes + std::size_t{header->entries} * kJournalEntryBytes;
  for (std::uint32_t i = 0; i < header->entries; ++i) {
    const auto entry =
        decode_journal_entry(bytes.data() + kWriteHeaderBytes + i * kJournalEntryBytes);
    if (!entry || entry->length > header->bytes_used - batches_at) return std::nullopt;
    ReplayEntry replay{*entry, true, bytes.subspan(batches_at, entry->length)};
    batches_at += entry->length;
    if (entry->length > 0 && !entry_sound(*entry, replay.batches)) {
      replay.sound = whole = false;
      replay.batches = {};
    }
    write.entries.push_back(replay);
  }
  return write;
}

void read_writes(const LoadedFile& file, std::uint64_t journal_id,
                 std::map<std::uint64_t, ReplayWrite>& found) {
  for (std::size_t at = kJournalDataStart; at + kWriteHeaderBytes <= file.bytes;) {
    bool whole = false;
    auto write = read_write(file, journal_id, at, whole);
    if (!write) {
      at += io::kBlockBytes;
      continue;
    }
    // Behind a write that is not whole a newer one may begin that overwrote the rest of it.
    at += whole ? static_cast<std::size_t>(write->header.disk_bytes()) : io::kBlockBytes;
    found[write->header.sequence] = std::move(*write);
  }
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
                                     const std::vector<JournalCheckpoint>& checkpointed) {
  ReplayedJournal replayed;
  replayed.shard = journal.shard;
  std::vector<LoadedFile> loaded;
  for (const std::uint32_t number : journal.numbers) {
    TIDELOG_ASSIGN(auto file, load_file(files, paths, journal.shard, number));
    replayed.paths.push_back(file.path);
    if (file.header.header && file.header.header->generation > replayed.generation) {
      replayed.generation = file.header.header->generation;
      replayed.journal_id = file.header.header->journal_id;
      replayed.shard_count = file.header.header->shard_count;
    }
    loaded.push_back(std::move(file));
  }
  std::map<std::uint64_t, ReplayWrite> found;
  for (LoadedFile& file : loaded) {
    if (!file.header.header) {
      const auto id = guess_id(file);
      if (!id) continue;  // a file whose making was cut short holds nothing
      replayed.problems.push_back(fmt::format("{}: both headers are damaged", file.path));
      if (replayed.journal_id == 0) replayed.journal_id = *id;
    } else if (file.header.header->generation < replayed.generation) {
      continue;  // emptied before the journal got its new id
    } else if (file.header.damaged > 0) {
      replayed.problems.push_back(
          fmt::format("{}: one of two headers is damaged; the other one counts", file.path));
    }
    read_writes(file, replayed.journal_id, found);
    replayed.memory.push_back(std::move(file.memory));
  }
  for (const JournalCheckpoint& known : checkpointed) {
    if (known.journal_id == replayed.journal_id) replayed.durable = known.durable_sequence;
  }
  for (const auto& [sequence, write] : found) {
    replayed.tail = std::max(replayed.tail, write.header.first);
    replayed.durable = std::max(replayed.durable, write.header.durable);
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
  return replayed;
}

}  // namespace tidelog::log
